/** Endpoints of a broker, and the default ones. */

import { isIPv4, isIPv6 } from "node:net";

import { type InvalidError, invalid } from "./error.js";
import { type Place, places } from "./places.js";

/** The environment variable with the broker's endpoint. */
export const ENDPOINT_VARIABLE = "CARDBROKER_ENDPOINT";

/** The address of a broker. */
export interface Endpoint {
  /** The notation for people: `unix:/path`, `https://HOST:PORT` or `http://HOST:PORT`. */
  readonly text: string;
  /** The target in gRPC's notation. */
  readonly target: string;
  /** The path of the Unix socket; absent on TCP. */
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

/** An endpoint, and its default place unless somebody has named it. */
export interface Target extends Endpoint {
  readonly place?: Place;
}

/** The endpoint given, else the one in `CARDBROKER_ENDPOINT`, else the default places in their order. */
export function findTargets(
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  uid = process.geteuid?.(),
): Target[] {
  const text = given ?? environment[ENDPOINT_VARIABLE];
  if (text || given !== undefined) {
    return [parseEndpoint(text ?? "")];
  }
  if (uid === undefined) {
    // Without Unix sockets there is no default endpoint.
    throw noEndpoint("");
  }
  return places(environment, uid).map((place) => ({ ...unix(place.path), place }));
}

/**
 * Reads `unix:/path`, `unix:///path`, `https://HOST:PORT`, or `http://HOST:PORT` for plain TCP, where the host is
 * `localhost` or a loopback address.
 */
export function parseEndpoint(text: string): Endpoint {
  const path = /^unix:(?:\/\/(?=\/)|(?!\/\/))(\/.*[^/])$/s.exec(text)?.[1];
  if (path !== undefined) {
    return unix(path);
  }
  const [, scheme, host, port] = /^(https?):\/\/(localhost|[\d.]+|\[[\d:]+\]):(0|[1-9]\d{0,4})\/?$/.exec(text) ?? [];
  if (!host || !isLocal(host) || Number(port) > 65535) {
    throw noEndpoint(text);
  }
  // `localhost` is not resolved: another program may hold the port at its other address.
  const numeric = host === "localhost" ? "127.0.0.1" : host;
  const address = { host: numeric.replace(/^\[|\]$/g, ""), port: Number(port), isPlain: scheme === "http" };
  return { text: `${scheme}://${host}:${port}`, target: `${numeric}:${port}`, address };
}

function isLocal(host: string): boolean {
  return host === "localhost" || (host.startsWith("127.") && isIPv4(host)) || isLoopback6(host);
}

/** Whether the address is `[::1]` in any notation. */
function isLoopback6(host: string): boolean {
  const address = host.slice(1, -1);
  return isIPv6(address) && new URL(`http://[${address}]`).hostname === "[::1]";
}

function noEndpoint(text: string): InvalidError {
  return invalid("endpoint", `"${text}" is not an endpoint: use unix:/path or https://127.0.0.1:port`);
}

function unix(path: string): Endpoint {
  return { text: `unix:${path}`, target: `unix:${path}`, path };
}
