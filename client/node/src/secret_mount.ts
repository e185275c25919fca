/** Secrets as orchestrators mount them: readable by all users of a container, writable by root alone. */
import type { Stats } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";

interface Mount {
  number: string;
  point: string;
  isReadOnly: boolean;
  isInMemory: boolean;
}

/** Points of mounts in memory that are not for secrets alone. */
const SHARED = ["/", "/run"];

/**
 * Whether the open file `found` at `path` is such a secret. File and folder belong to root, who alone may write them,
 * and the file lies on a read-only mount, or on a tmpfs whose root is its folder. A link may lead to another place
 * within the mount. False where the system does not list its mounts.
 */
export async function isMountedSecret(path: string, found: Stats): Promise<boolean> {
  try {
    const [folder, file] = await Promise.all([realpath(dirname(path)), realpath(path)]);
    const [still, parent] = await Promise.all([stat(file), stat(dirname(file))]);
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    const isSame = still.dev === found.dev && still.ino === found.ino;
    return isSame && isOfRoot(found) && isOfRoot(parent) && isSecretMount(mounts, folder, file);
  } catch {
    return false;
  }
}

/**
 * Whether the mount of `file` is for secrets. `folder` is where the file was looked for; both are without links.
 * `mounts` is the text of `/proc/self/mountinfo`.
 */
export function isSecretMount(mounts: string, folder: string, file: string): boolean {
  const all = mounts.split("\n").flatMap(parse);
  const [mount, ofFolder] = [mountOf(all, file), mountOf(all, folder)];
  if (mount === undefined || ofFolder === undefined) {
    return false;
  }
  const isInside = mount.point === file || mount.number === ofFolder.number;
  const isOfItsOwn = mount.point === folder && !SHARED.includes(mount.point);
  return isInside && (mount.isReadOnly || (mount.isInMemory && isOfItsOwn));
}

function isOfRoot(found: Stats): boolean {
  return found.uid === 0 && (found.mode & 0o022) === 0;
}

/** The mount that `path` lies on: of those whose points contain it the deepest, and of these the last. */
function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  const contains = (point: string) => path === point || path.startsWith(point === "/" ? "/" : `${point}/`);
  const deeper = (best: Mount | undefined, mount: Mount) =>
    contains(mount.point) && mount.point.length >= (best?.point.length ?? 0) ? mount : best;
  return mounts.reduce<Mount | undefined>(deeper, undefined);
}

/** Parses `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`; a line of another form is no mount. */
function parse(line: string): Mount[] {
  const [own = "", ofSystem = ""] = line.split(" - ", 2);
  const [number, , , , point, options] = own.split(" ");
  const [type = "", , moreOptions = ""] = ofSystem.split(" ");
  if (number === undefined || point === undefined || options === undefined || type === "") {
    return [];
  }
  const isReadOnly = [options, moreOptions].some((list) => list.split(",").includes("ro"));
  const unescaped = point.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
  return [{ number, point: unescaped, isReadOnly, isInMemory: ["tmpfs", "ramfs"].includes(type) }];
}
