/** Endpoints of a broker, and the default ones. */

import { isIPv4, isIPv6 } from "node:net";

import { type InvalidError, invalid } from "./error.js";
import { type Place, endpointFilePlace, places } from "./places.js";

/** The environment variable with the broker's endpoint. */
export const ENDPOINT_VARIABLE = "CARDBROKER_ENDPOINT";

/** The address of a broker. */
export interface Endpoint {
  /** The notation for people: `unix:/path`, `npipe:////./pipe/NAME`, `https://HOST:PORT`, `http://…` or `tcp:auto`. */
  readonly text: string;
  /** The target in gRPC's notation; empty for `tcp:auto`, whose port is in the endpoint file. */
  readonly target: string;
  /** The path of the Unix socket or of Windows' pipe; absent on TCP. */
  readonly path?: string;
  /** The address for TCP. */
  readonly address?: TcpAddress;
}

/** An address for TCP. */
export interface TcpAddress {
  /** An IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** Whether there is no TLS: a program that takes or relays the port reads tokens and PINs. */
  readonly isPlain: boolean;
}

/** An endpoint at which a client looks for its broker. */
export interface Target extends Endpoint {
  /** The file that nobody has named, whose way must be trusted: a default socket, or the endpoint file. */
  readonly place?: Place;
}

/** The endpoint that means the port in the endpoint file of this user's broker. */
const AUTO = "tcp:auto";

/** The longest path of a pipe, in bytes. */
const MAX_PIPE_BYTES = 256;

/** The endpoint given, else the one in `CARDBROKER_ENDPOINT`, else the default places in their order. */
export function findTargets(
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  uid = process.geteuid?.(),
): Target[] {
  const text = given ?? environment[ENDPOINT_VARIABLE];
  const isNamed = text || given !== undefined;
  if (isNamed || uid === undefined) {
    // Windows has default pipes, but any user may have made one of that name, and Node does not tell its owner.
    const target = parseEndpoint(isNamed ? (text ?? "") : AUTO);
    return [target.text === AUTO ? { ...target, place: endpointFilePlace(environment, uid ?? 0) } : target];
  }
  return places(environment, uid).map((place) => ({ ...unix(place.path), place }));
}

/**
 * Reads `unix:/path`, `unix:///path`, `https://HOST:PORT`, `tcp:auto`, or `http://HOST:PORT` for plain TCP; on Windows
 * also a pipe, `npipe:////./pipe/NAME` or `\\.\pipe\NAME`. The host is `localhost` or an IP address, for plain TCP a
 * loopback address.
 */
export function parseEndpoint(text: string): Endpoint {
  return parseEndpointOn(process.platform, text);
}

/** The same on a system that Node names so. */
export function parseEndpointOn(platform: NodeJS.Platform, text: string): Endpoint {
  if (text === AUTO) {
    return { text, target: "" };
  }
  if (platform === "win32") {
    const pipe = parsePipe(text);
    if (pipe) {
      return pipe;
    }
  }
  const path = /^unix:(?:\/\/(?=\/)|(?!\/\/))(\/.*[^/])$/s.exec(text)?.[1];
  if (path !== undefined) {
    return unix(path);
  }
  const [, scheme, host, port] =
    /^(https?):\/\/(localhost|[\d.]+|\[[\da-fA-F:]+\]):(0|[1-9]\d{0,4})\/?$/.exec(text) ?? [];
  if (!host || !(scheme === "http" ? isLoopback(host) : isAddress(host)) || Number(port) > 65535) {
    throw noEndpoint(text, platform);
  }
  // `localhost` is not resolved: another program may hold the port at its other address.
  const numeric = host === "localhost" ? "127.0.0.1" : host;
  const address = { host: numeric.replace(/^\[|\]$/g, ""), port: Number(port), isPlain: scheme === "http" };
  return { text: `${scheme}://${host}:${port}`, target: `${numeric}:${port}`, address };
}

/** Whether the host is an address of this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || (host.startsWith("127.") && isIPv4(host)) || normal6(host) === "[::1]";
}

/** Whether a host may have this address; names other than `localhost` are not resolved. */
function isAddress(host: string): boolean {
  const address = normal6(host) ?? (isIPv4(host) || host === "localhost" ? host : "0.0.0.0");
  return address !== "0.0.0.0" && address !== "[::]";
}

/** The one notation of an IPv6 address in brackets; `undefined` for anything else. */
function normal6(host: string): string | undefined {
  return host.startsWith("[") && isIPv6(host.slice(1, -1)) ? new URL(`http://${host}`).hostname : undefined;
}

function noEndpoint(text: string, platform: NodeJS.Platform): InvalidError {
  const local = platform === "win32" ? "npipe:////./pipe/NAME" : "unix:/path";
  const forms = `${local}, https://127.0.0.1:port or tcp:auto`;
  return invalid("endpoint", `"${text}" is not an endpoint: use ${forms}`);
}

function unix(path: string): Endpoint {
  return { text: `unix:${path}`, target: `unix:${path}`, path };
}

/** The pipe of this machine in the text; `undefined` if it is none. A slash in the name stands for a backslash. */
function parsePipe(text: string): Endpoint | undefined {
  const path = text.startsWith("npipe://") ? text.slice("npipe://".length).replaceAll("/", "\\") : text;
  const name = /^\\\\\.\\pipe\\([^/]+)$/.exec(path)?.[1];
  if (name === undefined || Buffer.byteLength(path) > MAX_PIPE_BYTES) {
    return undefined;
  }
  return { text: `npipe:////./pipe/${name.replaceAll("\\", "/")}`, target: `unix:${path}`, path };
}
