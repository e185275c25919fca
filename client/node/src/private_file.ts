/** Files with a secret: refused unless only their owner has access. */

import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { octal } from "./places.js";
import { isMountedSecret } from "./secret_mount.js";

/** The longest token file, in bytes. */
const MAX_FILE_BYTES = 1 << 20;

/** The problem of a file, for people: the file's name belongs before it. */
export class FileProblem extends Error {}

/**
 * Reads a regular file of this user or root without access for others, or a secret mounted by an orchestrator.
 *
 * @throws {@link FileProblem}
 */
export async function readPrivate(path: string): Promise<string> {
  try {
    return await read(path);
  } catch (error) {
    if (error instanceof FileProblem) {
      throw error;
    }
    const { code } = error as NodeJS.ErrnoException;
    throw new FileProblem(`cannot be read: ${code === "ENOENT" ? "there is no such file" : code}`);
  }
}

async function read(path: string): Promise<string> {
  // A pipe without a writer would block.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const found = await file.stat();
    if (!found.isFile()) {
      throw new FileProblem("is not a regular file");
    }
    const uid = process.geteuid?.();
    if (uid !== undefined && found.uid !== 0 && found.uid !== uid) {
      throw new FileProblem("belongs to another user: change its owner with chown");
    }
    const mode = found.mode & 0o7777;
    if (uid !== undefined && (mode & 0o077) !== 0 && !(await isMountedSecret(path, found))) {
      throw new FileProblem(`is open to others (its mode is ${octal(mode)}): chmod 600 it`);
    }
    if (found.size > MAX_FILE_BYTES) {
      throw new FileProblem("is longer than 1 MiB");
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
