/**
 * The file in which a broker that chose its TCP port itself (`--tcp auto`) leaves its endpoint for its user: the port, a
 * token and the broker's certificate. It is read anew before each connection; all three belong together.
 */

import { type Stats, constants, readFileSync } from "node:fs";
import { open } from "node:fs/promises";

import { type Endpoint, isLoopback, parseEndpoint } from "./endpoint.js";
import { type Finding, type Place, findingOf, octal, untrusted, user, walk } from "./places.js";
import { FileProblem } from "./private_file.js";
import { isAuthority, isCertificate, isToken } from "./token_file.js";

/** The longest endpoint file, in bytes. */
const MAX_BYTES = 64 << 10;

/** What an endpoint file holds. */
export interface EndpointFile {
  /** A TCP port of this machine, with TLS. */
  endpoint: Endpoint;
  token: string;
  /** The broker's certificate in PEM. */
  certificate: string;
  /** The broker's process, at least 1. */
  pid: number;
  /** The process's start, in the system's ticks since its boot, where the broker could tell it. */
  startTime?: number;
}

/** Reads the file of a broker that still runs, if no other user decides what is there; else says why not. */
export async function readEndpointFile(place: Place, uid: number | undefined): Promise<EndpointFile | Finding> {
  const { path } = place;
  // Without user numbers, on Windows, the system protects the folder of a user's data.
  const finding = uid === undefined ? undefined : walk(place, uid);
  if (finding) {
    return at(path, finding);
  }
  try {
    const text = await read(path, uid);
    if (typeof text !== "string") {
      return text;
    }
    const found = parseEndpointFile(text);
    if (hasEnded(found.pid, found.startTime)) {
      const text = `its broker, process ${found.pid}, has ended`;
      return { kind: "refused", text, waitingHelps: true };
    }
    return found;
  } catch (error) {
    if (error instanceof FileProblem) {
      return { kind: "failed", text: `${path} ${error.message}`, waitingHelps: false };
    }
    const { code } = error as NodeJS.ErrnoException;
    return code === "ELOOP" ? untrusted(`${path} is a symbolic link`) : at(path, findingOf(code ?? "unknown", path));
  }
}

/**
 * Parses the text of an endpoint file.
 *
 * @throws {@link FileProblem}
 */
export function parseEndpointFile(text: string): EndpointFile {
  const found = fields(text);
  const [endpoint, token, certificate] = ["endpoint", "token", "certificate"].map((key) => textOf(found, key)) as [
    string,
    string,
    string,
  ];
  if (!isToken(token)) {
    throw new FileProblem('has a "token" that is not visible ASCII');
  }
  if (!isCertificate(certificate.trim()) || isAuthority(certificate)) {
    throw new FileProblem('has a "certificate" that is not one certificate of a broker in PEM');
  }
  const [pid, startTime] = [numberOf(found, "pid"), numberOf(found, "start_time")];
  if (!pid) {
    throw new FileProblem('has no "pid" from 1 on');
  }
  return { endpoint: portOf(endpoint), token, certificate: certificate.trim(), pid, startTime };
}

/** Whether the process has ended, as far as the system tells; another one may have its number now. */
export function hasEnded(pid: number, startTime: number | undefined): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A number that is too large for the system is nobody's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") {
      return true;
    }
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in the second field may hold anything, but the last bracket ends it. Then come state and, 19 fields
    // later, start. A process that its parent has not waited for still has its number.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state = "", started] = [fields[0], Number(fields[19])];
    return ["Z", "X"].includes(state) || (startTime !== undefined && started !== startTime);
  } catch {
    return false;
  }
}

async function read(path: string, uid: number | undefined): Promise<string | Finding> {
  // A pipe without a writer would block.
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants as Partial<typeof constants>;
  const file = await open(path, (O_RDONLY ?? 0) | O_NONBLOCK | O_NOFOLLOW);
  try {
    const found = await file.stat();
    const problem = distrust(found, uid);
    if (problem) {
      return untrusted(`${path} ${problem}`);
    }
    if (found.size > MAX_BYTES) {
      throw new FileProblem("is longer than 64 KiB");
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

function distrust(found: Stats, uid: number | undefined): string | undefined {
  const mode = found.mode & 0o7777;
  if (!found.isFile()) {
    return "is not a regular file";
  }
  if (uid === undefined) {
    return undefined;
  }
  if (found.uid !== uid) {
    return `belongs to ${user(found.uid)}, not to this user`;
  }
  return mode & 0o077 ? `is open to others (its mode is ${octal(mode)})` : undefined;
}

/** The finding with the file's name, where the finding does not name it. */
function at(path: string, finding: Finding): Finding {
  const isNamed = finding.kind !== "missing" && finding.kind !== "failed";
  return isNamed ? finding : { ...finding, text: `${path}: ${finding.text}` };
}

function fields(text: string): Record<string, unknown> {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw new FileProblem("is not JSON");
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) {
    throw new FileProblem("is not a JSON object");
  }
  return found as Record<string, unknown>;
}

function textOf(found: Record<string, unknown>, key: string): string {
  const value = found[key];
  if (typeof value !== "string") {
    throw new FileProblem(`has no text "${key}"`);
  }
  return value;
}

function numberOf(found: Record<string, unknown>, key: string): number | undefined {
  const value = found[key] ?? undefined;
  if (value !== undefined && !(typeof value === "number" && Number.isInteger(value) && value >= 0)) {
    throw new FileProblem(`has a "${key}" that is not a whole number from 0 on`);
  }
  return value;
}

function portOf(text: string): Endpoint {
  const problem = new FileProblem('has an "endpoint" that is not https:// at a port of this machine');
  let endpoint: Endpoint;
  try {
    endpoint = parseEndpoint(text);
  } catch {
    throw problem;
  }
  const { address } = endpoint;
  if (!address || address.isPlain || !isLoopback(address.host.includes(":") ? `[${address.host}]` : address.host)) {
    throw problem;
  }
  return endpoint;
}
