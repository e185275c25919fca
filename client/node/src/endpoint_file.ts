/**
 * The file in which a broker that chose its TCP port itself (`--tcp auto`) leaves its endpoint for its user: the port,
 * a token and the broker's certificate. It is read anew before each connection; all three belong together.
 */

import { type Stats, constants, readFileSync } from "node:fs";
import { open } from "node:fs/promises";

import { type Endpoint, parseEndpoint } from "./endpoint.js";
import { type Finding, type Place, findingOf, octal, untrusted, user, walk } from "./places.js";
import { FileProblem } from "./private_file.js";
import { isAuthority, isCertificate, isToken } from "./token_file.js";

/** The longest endpoint file, in bytes. */
const MAX_BYTES = 64 << 10;

/** A loopback port with TLS in the one notation that a broker writes. */
const PORT = /^https:\/\/(127(\.(0|[1-9]\d*)){3}|\[::1\]):[1-9]\d*$/;

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
  if (!path) {
    return { kind: "missing", text: "no such place: LOCALAPPDATA is no absolute path", waitingHelps: false };
  }
  // Without user numbers, on Windows, the system protects the folder of a user's data.
  const finding = uid === undefined ? undefined : walk(place, uid);
  if (finding) {
    return at(path, finding);
  }
  try {
    const bytes = await read(path, uid);
    if ("kind" in bytes) {
      return bytes;
    }
    const found = parseEndpointFile(textIn(bytes));
    if (hasEnded(found.pid, found.startTime)) {
      const text = `its broker, process ${found.pid}, has ended; see ${path}`;
      return { kind: "refused", text, waitingHelps: true };
    }
    return found;
  } catch (error) {
    if (error instanceof FileProblem) {
      return { kind: "failed", text: `${path} ${error.message}`, waitingHelps: false, isMalformed: true };
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
  const [token, endpoint, certificate] = ["token", "endpoint", "certificate"].map((key) => textOf(found, key)) as [
    string,
    string,
    string,
  ];
  if (!isToken(token)) {
    throw invalid("token");
  }
  const port = portOf(endpoint);
  if (!isCertificate(certificate.trim()) || isAuthority(certificate)) {
    throw invalid("certificate");
  }
  const pid = integerOf(found, "pid", 1n, (1n << 32n) - 1n);
  const startTime = "start_time" in found ? integerOf(found, "start_time", 0n, (1n << 64n) - 1n) : undefined;
  return { endpoint: port, token, certificate: certificate.trim(), pid, startTime };
}

/** Whether the process has ended, as far as the system tells; another one may have its number now. */
export function hasEnded(pid: number, startTime: number | undefined, platform: string = process.platform): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A number that is too large for the system is nobody's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") {
      return true;
    }
  }
  // Elsewhere other users may make such a file, on Windows as `C:\proc\PID\stat`.
  if (platform !== "linux") {
    return false;
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

async function read(path: string, uid: number | undefined): Promise<Buffer | Finding> {
  // A pipe without a writer would block.
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants as Partial<typeof constants>;
  const file = await open(path, (O_RDONLY ?? 0) | O_NONBLOCK | O_NOFOLLOW);
  try {
    const found = await file.stat();
    const problem = distrust(found, uid);
    if (problem) {
      return untrusted(`${path} ${problem}`);
    }
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let count = -1; count !== 0; length += count) {
      count = (await file.read(bytes, length, bytes.length - length)).bytesRead;
    }
    return bytes.subarray(0, length);
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
  return mode & 0o077 ? `is open to other users (its mode is ${octal(mode)})` : undefined;
}

/** The finding with the file's name, where the finding does not name it. */
function at(path: string, finding: Finding): Finding {
  switch (finding.kind) {
    case "missing":
      return { ...finding, text: `${finding.text}: ${path}` };
    case "failed":
      return { ...finding, text: `${path}: ${finding.text}` };
    default:
      return finding;
  }
}

function textIn(bytes: Buffer): string {
  if (bytes.length > MAX_BYTES) {
    throw new FileProblem("is longer than 64 KiB");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw noObject();
  }
}

/** The values of the object: texts with `"` before them, and numbers as they are spelt, with `#` before them. */
function fields(text: string): Record<string, unknown> {
  let found: unknown;
  try {
    JSON.parse(text);
    // JSON.parse does not tell 4711.0 from 4711, and rounds long numbers.
    const marked = text.replace(
      /"((?:[^"\\]|\\.)*)"(\s*:)?|-?\d[\d.eE+-]*/g,
      (token, inner: string | undefined, colon: string | undefined) =>
        inner === undefined ? `"#${token}"` : colon === undefined ? `"\\"${inner}"` : token,
    );
    found = JSON.parse(marked);
  } catch {
    throw noObject();
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) {
    throw noObject();
  }
  return found as Record<string, unknown>;
}

function noObject(): FileProblem {
  return new FileProblem("is not one JSON object");
}

function invalid(key: string): FileProblem {
  return new FileProblem(`has no valid "${key}"`);
}

function textOf(found: Record<string, unknown>, key: string): string {
  const value = found[key];
  return typeof value === "string" && value.startsWith('"') ? value.slice(1) : "";
}

function integerOf(found: Record<string, unknown>, key: string, least: bigint, most: bigint): number {
  const spelling = found[key];
  const value = typeof spelling === "string" && /^#\d+$/.test(spelling) ? BigInt(spelling.slice(1)) : -1n;
  if (value < least || value > most) {
    throw invalid(key);
  }
  return Number(value);
}

function portOf(text: string): Endpoint {
  try {
    const endpoint = parseEndpoint(text);
    if (PORT.test(text)) {
      return endpoint;
    }
  } catch {
    // The same refusal.
  }
  throw invalid("endpoint");
}
