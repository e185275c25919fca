/**
 * The default places of a broker and of its endpoint file, and trust in the way to them: only root and this user may
 * decide what is there.
 * Node does not tell who serves at a socket, so this package relies on the walk along the path.
 */

import { type Stats, lstatSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, win32 } from "node:path";

/** The socket of the system's broker, and the only default of root. */
const SYSTEM_SOCKET = "/run/cardbroker/cardbroker.sock";

/** The longest path of a socket, in bytes. */
const MAX_PATH_BYTES = 107;

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** Errors of a connection that a broker's start or end may cause. */
const OF_A_RESTART = ["EAGAIN", "ECONNRESET", "ECONNABORTED", "EPIPE"];

/** The name of the endpoint file, in the folder of the default socket. */
const ENDPOINT_FILE = "endpoint.json";

/** A file by which a client finds a broker that nobody has named: the broker's socket, or its endpoint file. */
export interface Place {
  readonly path: string;
  /** Whether it lies in the user's runtime folder, which must belong to the user. */
  readonly isOwn: boolean;
}

/** One part of a path, as `lstat` reports it. */
export interface Part {
  readonly path: string;
  readonly kind: "folder" | "link" | "other";
  readonly owner: number;
  /** The permission bits, with the sticky bit. */
  readonly mode: number;
}

/** Why there is no connection to an endpoint. */
export interface Finding {
  readonly kind: "missing" | "refused" | "forbidden" | "untrusted" | "other_program" | "too_long" | "failed";
  /** The finding, for people. */
  readonly text: string;
  /** The operating system's error code, if there is one. */
  readonly systemError?: string;
  /** Whether a broker that starts may be the cause, so that waiting helps. */
  readonly waitingHelps: boolean;
  /** Whether an endpoint file is there but cannot be understood. */
  readonly isMalformed?: boolean;
}

/** Another program than the broker of the token file answers at the port. */
export const OTHER_PROGRAM: Finding = {
  kind: "other_program",
  text: "another program: it has another certificate or no TLS",
  waitingHelps: false,
};

/** A place without a connection to it. */
export interface FailedAttempt<T> {
  readonly place: T;
  readonly finding: Finding;
}

/** The default sockets of a user, in the order in which a client tries them. */
export function places(environment: NodeJS.ProcessEnv, uid: number): Place[] {
  const system = { path: SYSTEM_SOCKET, isOwn: false };
  if (uid === 0) {
    return [system];
  }
  const variable = environment.XDG_RUNTIME_DIR;
  const runtime = variable && isAbsolute(variable) ? variable : `/run/user/${uid}`;
  return [{ path: join(runtime, "cardbroker/cardbroker.sock"), isOwn: true }, system];
}

/** An absolute path on Windows: of a drive, or of a share. `\\x` is relative to the current drive. */
const ABSOLUTE_ON_WINDOWS = /^([A-Za-z]:[\\/]|\\\\[^\\])/;

/**
 * The place of a user's endpoint file: beside the first default socket. Its path is empty on Windows without an
 * absolute path in LOCALAPPDATA: a relative one would lead to the current folder, where others may put files.
 */
export function endpointFilePlace(environment: NodeJS.ProcessEnv, uid: number, platform = process.platform): Place {
  if (platform === "win32") {
    const folder = environment.LOCALAPPDATA ?? "";
    const path = ABSOLUTE_ON_WINDOWS.test(folder) ? win32.join(folder, "cardbroker", ENDPOINT_FILE) : "";
    return { path, isOwn: true };
  }
  const [{ path, isOwn }] = places(environment, uid) as [Place];
  return { path: join(dirname(path), ENDPOINT_FILE), isOwn };
}

/**
 * The first part that lets another user decide what is at the place; `undefined` if there is none. The parts begin with
 * `/`; the last ones are absent if they do not exist or cannot be seen.
 */
export function judge(place: Place, uid: number, parts: readonly Part[]): string | undefined {
  let above: Part | undefined;
  for (const [index, part] of parts.entries()) {
    const problem = judgePart(place, uid, { above, part, below: parts[index + 1] });
    if (problem) {
      return problem;
    }
    above = part;
  }
  return undefined;
}

/** A part between its neighbours on the way. */
interface Step {
  above: Part | undefined;
  part: Part;
  below: Part | undefined;
}

function judgePart(place: Place, uid: number, { above, part, below }: Step): string | undefined {
  const { path, kind, owner, mode } = part;
  const folder = dirname(place.path);
  if (kind === "link") {
    return `${path} is a symbolic link`;
  }
  if (path === place.path) {
    // Its folder decides who can put something else there.
    return undefined;
  }
  if (kind !== "folder") {
    return `${path} is not a folder`;
  }
  if (place.isOwn && path === dirname(folder) && owner !== uid) {
    return `the runtime folder ${path} belongs to ${user(owner)}, not to this user`;
  }
  const isAppointed = path === folder && above?.owner === 0 && !(above.mode & OTHERS_WRITE);
  if (owner !== 0 && owner !== uid && !isAppointed) {
    return `${path} belongs to ${user(owner)}, neither to root nor to this user`;
  }
  const keepsBelow = owner === 0 && mode & STICKY && (!below || below.owner === uid);
  if (mode & OTHERS_WRITE && !keepsBelow) {
    return `other users can write to ${path} (its mode is ${octal(mode)})`;
  }
  return undefined;
}

/** Walks from `/` to the file and judges each part; distrust counts before a missing part. */
export function walk(place: Place, uid: number, look = lookAt): Finding | undefined {
  const parts: Part[] = [];
  let hidden: unknown;
  for (const path of wayTo(place.path)) {
    try {
      parts.push(look(path));
    } catch (error) {
      hidden = error;
      break;
    }
  }
  const problem = judge(place, uid, parts);
  if (problem) {
    return untrusted(problem);
  }
  return hidden ? findingOf((hidden as NodeJS.ErrnoException).code, place.path) : undefined;
}

/** The finding at a place that another user may decide about. */
export function untrusted(problem: string): Finding {
  return { kind: "untrusted", text: `not trusted: ${problem}`, waitingHelps: false };
}

/** Why a default socket is not even connected to: its path is too long, not trusted, or does not exist. */
export function obstacle(place: Place, uid: number, look = lookAt): Finding | undefined {
  return lengthOf(place.path) ?? walk(place, uid, look);
}

/** The finding for an error code of the system at a file, or at a TCP port without a path. */
export function findingOf(systemError: string | undefined, path?: string): Finding {
  switch (systemError) {
    case "ENOENT":
    case "ENOTDIR":
      return { kind: "missing", text: "no such file", systemError, waitingHelps: true };
    case "ECONNREFUSED":
      return { kind: "refused", text: `connection refused${ownerAt(path)}`, systemError, waitingHelps: true };
    case "EACCES":
    case "EPERM":
      return { kind: "forbidden", text: `permission denied${ownerAt(path)}`, systemError, waitingHelps: false };
    case undefined:
    case "ETIMEDOUT":
      return { kind: "failed", text: "no answer in time", systemError, waitingHelps: true };
    default: {
      const waitingHelps = OF_A_RESTART.includes(systemError);
      return { kind: "failed", text: systemError, systemError, waitingHelps };
    }
  }
}

/** The finding for a path that does not fit into a socket's address; `undefined` if it fits. */
export function lengthOf(path: string): Finding | undefined {
  const text = `the path is longer than a socket's ${MAX_PATH_BYTES} bytes`;
  return Buffer.byteLength(path) > MAX_PATH_BYTES ? { kind: "too_long", text, waitingHelps: false } : undefined;
}

/** Whether there is no broker at a place, so that the next one is tried. */
function isAbsence({ kind }: Finding): boolean {
  return kind === "missing" || kind === "refused";
}

/**
 * Tries the places in their order, until one works or its finding ends the search. Returns the place that worked, and
 * the findings at the others.
 */
export async function search<T>(
  candidates: readonly T[],
  attempt: (place: T) => Promise<Finding | undefined> | Finding | undefined,
): Promise<{ found?: T; inVain: FailedAttempt<T>[] }> {
  const inVain: FailedAttempt<T>[] = [];
  for (const place of candidates) {
    const finding = await attempt(place);
    if (!finding) {
      return { found: place, inVain };
    }
    inVain.push({ place, finding });
    if (!isAbsence(finding)) {
      break;
    }
  }
  return { inVain };
}

/** The paths on the way, from `/` to the file. */
export function wayTo(path: string): string[] {
  const paths = [path];
  for (let above = dirname(path); above !== paths[0]; above = dirname(above)) {
    paths.unshift(above);
  }
  return paths;
}

function lookAt(path: string): Part {
  const found = lstatSync(path);
  return { path, kind: kindOf(found), owner: found.uid, mode: found.mode & 0o7777 };
}

function kindOf(found: Stats): Part["kind"] {
  if (found.isSymbolicLink()) {
    return "link";
  }
  return found.isDirectory() ? "folder" : "other";
}

/** The owner of what is at the path, or of the last part on the way that can be seen. */
function ownerAt(path: string | undefined): string {
  // Windows' users have no numbers.
  if (path === undefined || process.platform === "win32") {
    return "";
  }
  for (const part of wayTo(path).reverse()) {
    try {
      return `; ${part} belongs to ${user(statSync(part).uid)}`;
    } catch {
      // The part above may be visible.
    }
  }
  return "";
}

/** Permission bits in messages. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** The name of a user in messages. */
export function user(uid: number): string {
  return uid === 0 ? "root" : `uid ${uid}`;
}
