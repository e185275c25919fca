/**
 * The default places of a broker, and trust in the way to them: only root and this user may decide what is there.
 * Node does not tell who serves at a socket, so this package relies on the walk along the path.
 */

import { type Stats, lstatSync, statSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";

/** The socket of the system's broker, and the only default of root. */
const SYSTEM_SOCKET = "/run/cardbroker/cardbroker.sock";

/** The longest path of a socket, in bytes. */
const MAX_PATH_BYTES = 107;

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** A socket at which a client looks for a broker that nobody has named. */
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
}

/** Another program than the broker of the token file answers at the port. */
export const OTHER_PROGRAM: Finding = {
  kind: "other_program",
  text: "another program: it has another certificate or no TLS",
};

/** A place that was tried in vain. */
export interface Tried<T = Place> {
  readonly place: T;
  readonly finding: Finding;
}

/** The default places of a user, in the order in which a client tries them. */
export function places(environment: NodeJS.ProcessEnv, uid: number): Place[] {
  const system = { path: SYSTEM_SOCKET, isOwn: false };
  if (uid === 0) {
    return [system];
  }
  const variable = environment.XDG_RUNTIME_DIR;
  const runtime = variable && isAbsolute(variable) ? variable : `/run/user/${uid}`;
  return [{ path: join(runtime, "cardbroker/cardbroker.sock"), isOwn: true }, system];
}

/**
 * The first part that lets another user decide what is at the place; `undefined` if there is none. The parts begin with
 * `/`; the last ones are absent if they do not exist or cannot be seen.
 */
export function judge(place: Place, uid: number, parts: readonly Part[]): string | undefined {
  // The socket is the last part, its folder the one before, and the runtime folder the one before that.
  const socket = pathsOf(place).length - 1;
  for (const [index, part] of parts.entries()) {
    const { path, kind, owner, mode } = part;
    if (kind === "link") {
      return `${path} is a symbolic link`;
    }
    if (index === socket) {
      break;
    }
    if (kind !== "folder") {
      return `${path} is not a folder`;
    }
    const [above, next] = [parts[index - 1], parts[index + 1]];
    const isAppointed = index === socket - 1 && above?.owner === 0 && !(above.mode & OTHERS_WRITE);
    const keepsNext = owner === 0 && mode & STICKY && (!next || next.owner === uid);
    if (place.isOwn && index === socket - 2 && owner !== uid) {
      return `the runtime folder ${path} belongs to ${user(owner)}, not to this user`;
    }
    if (owner !== 0 && owner !== uid && !isAppointed) {
      return `${path} belongs to ${user(owner)}, neither to root nor to this user`;
    }
    if (mode & OTHERS_WRITE && !keepsNext) {
      return `other users can write to ${path} (its mode is ${mode.toString(8).padStart(4, "0")})`;
    }
  }
  return undefined;
}

/** Walks from `/` to the socket and judges each part; distrust counts before a missing part. */
export function walk(place: Place, uid: number, look = lookAt): Finding | undefined {
  const parts: Part[] = [];
  let hidden: unknown;
  for (const path of pathsOf(place)) {
    try {
      parts.push(look(path));
    } catch (error) {
      hidden = error;
      break;
    }
  }
  const problem = judge(place, uid, parts);
  if (problem) {
    return { kind: "untrusted", text: `not trusted: ${problem}` };
  }
  return hidden ? findingOf((hidden as NodeJS.ErrnoException).code, place.path) : undefined;
}

/** The finding for an error code of the system at a socket, or at a TCP port without a path. */
export function findingOf(systemError: string | undefined, path?: string): Finding {
  switch (systemError) {
    case "ENOENT":
    case "ENOTDIR":
      return { kind: "missing", text: "no such file", systemError };
    case "ECONNREFUSED":
      return { kind: "refused", text: `connection refused${ownerAt(path)}`, systemError };
    case "EACCES":
    case "EPERM":
      return { kind: "forbidden", text: `permission denied${ownerAt(path)}`, systemError };
    default:
      return { kind: "failed", text: systemError ?? "no connection", systemError };
  }
}

/** The finding for a path that does not fit into a socket's address; `undefined` if it fits. */
export function lengthOf(path: string): Finding | undefined {
  const text = `the path is longer than a socket's ${MAX_PATH_BYTES} bytes`;
  return Buffer.byteLength(path) > MAX_PATH_BYTES ? { kind: "too_long", text } : undefined;
}

/** Whether a broker that starts may be the cause of the finding, so that waiting may help. */
export function isPassing({ kind }: Finding): boolean {
  return kind === "missing" || kind === "refused" || kind === "failed";
}

/**
 * Tries the places in their order, until one works or its finding ends the search. Returns the place that worked, and
 * the findings at the others.
 */
export async function search<T>(
  candidates: readonly T[],
  attempt: (place: T) => Promise<Finding | undefined> | Finding | undefined,
): Promise<{ found?: T; tried: Tried<T>[] }> {
  const tried: Tried<T>[] = [];
  for (const place of candidates) {
    const finding = await attempt(place);
    if (!finding) {
      return { found: place, tried };
    }
    tried.push({ place, finding });
    if (finding.kind !== "missing" && finding.kind !== "refused") {
      break;
    }
  }
  return { tried };
}

/** The paths on the way, from `/` to the socket. */
function pathsOf({ path }: Place): string[] {
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
  if (path === undefined) {
    return "";
  }
  for (const part of pathsOf({ path, isOwn: false }).reverse()) {
    try {
      return `; ${part} belongs to ${user(statSync(part).uid)}`;
    } catch {
      // The part above may be visible.
    }
  }
  return "";
}

function user(uid: number): string {
  return uid === 0 ? "root" : `uid ${uid}`;
}
