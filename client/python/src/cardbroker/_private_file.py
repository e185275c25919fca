"""Files with a secret: refused unless only their owner has access."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cardbroker._secret_mount import is_mounted_secret

MAX_PRIVATE_BYTES = 1 << 20
"""The longest token file, in bytes."""


def read_private(file: Path) -> bytes:
    """Reads a regular file of this user or root without access for others, or a secret mounted by an orchestrator.

    `ValueError` names the problem.
    """
    # A pipe without a writer would block.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is not a regular file")
        if found.st_uid not in (0, os.geteuid()):
            raise ValueError("belongs to another user: change its owner with chown")
        if mode & 0o077 and not is_mounted_secret(file, found):
            raise ValueError(f"is open to others (its mode is {mode:04o}): chmod 600 it")
        if found.st_size > MAX_PRIVATE_BYTES:
            raise ValueError("is longer than 1 MiB")
        return os.read(descriptor, MAX_PRIVATE_BYTES)
    finally:
        os.close(descriptor)
