"""Secrets as orchestrators mount them: readable by all users of a container, writable by root alone."""

import os
import re
import stat
from pathlib import Path, PurePath
from typing import NamedTuple

_SHARED = (PurePath("/"), PurePath("/run"))
"""Points of mounts in memory that are not for secrets alone."""


class _Mount(NamedTuple):
    number: str
    point: PurePath
    is_read_only: bool
    is_in_memory: bool


def is_mounted_secret(path: Path, found: os.stat_result) -> bool:
    """Whether the open file `found` at `path` is such a secret.

    File and folder belong to root, who alone may write them, and the file lies on a read-only mount, or on a tmpfs
    whose root is its folder. A link may lead to another place within the mount. False where the system does not list
    its mounts.
    """
    try:
        folder, file = path.parent.resolve(strict=True), path.resolve(strict=True)
        still, parent = file.stat(), file.parent.stat()
        mounts = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    except (OSError, RuntimeError):
        return False
    is_same = (still.st_dev, still.st_ino) == (found.st_dev, found.st_ino)
    return is_same and _is_of_root(found) and _is_of_root(parent) and is_secret_mount(mounts, folder, file)


def is_secret_mount(mounts: str, folder: PurePath, file: PurePath) -> bool:
    """Whether the mount of `file` is for secrets.

    `folder` is where the file was looked for; both are without links. `mounts` is the text of `/proc/self/mountinfo`.
    """
    mount, of_folder = _mount_of(mounts, file), _mount_of(mounts, folder)
    if mount is None or of_folder is None:
        return False
    is_inside = mount.point == file or mount.number == of_folder.number
    is_of_its_own = mount.point == folder and mount.point not in _SHARED
    return is_inside and (mount.is_read_only or (mount.is_in_memory and is_of_its_own))


def _is_of_root(found: os.stat_result) -> bool:
    return found.st_uid == 0 and not stat.S_IMODE(found.st_mode) & 0o022


def _mount_of(mounts: str, path: PurePath) -> _Mount | None:
    """The mount that `path` lies on: of those whose points contain it the deepest, and of these the last."""
    best = None
    for line in mounts.split("\n"):
        mount = _parse(line)
        is_deeper = mount and (best is None or len(mount.point.parts) >= len(best.point.parts))
        if mount and is_deeper and path.is_relative_to(mount.point):
            best = mount
    return best


def _parse(line: str) -> _Mount | None:
    """Parses `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`."""
    own, _, of_system = line.partition(" - ")
    fields, system = own.split(" "), of_system.split(" ")
    if len(fields) < 6 or not of_system:
        return None
    options = fields[5].split(",") + (system[2].split(",") if len(system) > 2 else [])
    point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), fields[4])
    return _Mount(fields[0], PurePath(point), "ro" in options, system[0] in ("tmpfs", "ramfs"))
