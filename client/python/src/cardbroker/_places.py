"""The default places of a broker and of its endpoint file, and trust in the way to them.

A place is trusted if only root and this user decide what is there. This client cannot ask who serves at a socket, so it
relies on the walk along the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Callable, Literal, TypeVar

SYSTEM_SOCKET = "/run/cardbroker/cardbroker.sock"
"""The socket of the system's broker, and the only default of root."""

MAX_PATH_BYTES = 107
"""The longest path of a socket, in bytes."""

_T = TypeVar("_T")
_OTHERS_WRITE = 0o022
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_OF_A_RESTART = (errno.EAGAIN, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT)
"""Errors of a connection that a broker's start or end may cause."""


@dataclass(frozen=True)
class Place:
    """A file by which a client finds a broker that nobody has named: the broker's socket, or its endpoint file."""

    path: str
    is_own: bool
    """Whether it lies in the user's runtime folder, which must belong to the user."""

    @property
    def way(self) -> list[str]:
        """The paths on the way, from `/` to the file."""
        path = PurePosixPath(self.path)
        return [str(each) for each in (*reversed(path.parents), path)]

    @property
    def folder(self) -> str:
        """The folder with the file, which root may have given to another user."""
        return str(PurePosixPath(self.path).parent)

    @property
    def runtime_folder(self) -> str | None:
        """The user's runtime folder; `None` for the system's places."""
        return str(PurePosixPath(self.folder).parent) if self.is_own else None

    def beside(self, name: str) -> Place:
        """The place of another file in the same folder."""
        return Place(f"{self.folder}/{name}", self.is_own)


@dataclass(frozen=True)
class Part:
    """One part of a path, as `lstat` reports it."""

    path: str
    kind: Literal["folder", "link", "other"]
    owner: int
    mode: int
    """The permission bits, with the sticky bit."""


@dataclass(frozen=True)
class Finding:
    """Why there is no connection to an endpoint."""

    kind: Literal["missing", "refused", "forbidden", "untrusted", "other_program", "too_long", "failed"]
    text: str
    """The finding, for people."""
    waiting_helps: bool = False
    """Whether a broker that starts may be the cause."""
    is_malformed: bool = False
    """Whether an endpoint file is there but cannot be understood."""

    @property
    def is_absence(self) -> bool:
        """Whether there is no broker at this place, so that the next one is tried."""
        return self.kind in ("missing", "refused")


TOO_LONG = Finding("too_long", f"the path is longer than a socket's {MAX_PATH_BYTES} bytes")

OTHER_PROGRAM = Finding("other_program", "another program: it has another certificate or no TLS")

CLOSED = Finding("failed", "the connection was closed", waiting_helps=True)

Look = Callable[[str], Part]
"""Returns the part at a path; raises `OSError`."""


def places(environment: Mapping[str, str], uid: int) -> tuple[Place, ...]:
    """The default sockets of a user, in the order in which a client tries them."""
    system = Place(SYSTEM_SOCKET, is_own=False)
    if uid == 0:
        return (system,)
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    folder = runtime if runtime.startswith("/") else f"/run/user/{uid}"
    return (Place(str(PurePosixPath(folder, "cardbroker/cardbroker.sock")), is_own=True), system)


def judge(place: Place, uid: int, parts: Sequence[Part]) -> str | None:
    """The first part that lets another user decide what is at the place; `None` if there is none.

    `parts` begins with `/`; the last ones are absent if they do not exist or cannot be seen.
    """
    above: Part | None = None
    for part, below in zip_longest(parts, parts[1:]):
        if problem := _judge_part(place, uid, above, part, below):
            return problem
        above = part
    return None


def _judge_part(place: Place, uid: int, above: Part | None, part: Part, below: Part | None) -> str | None:
    if part.kind == "link":
        return f"{part.path} is a symbolic link"
    if part.path == place.path:
        # Its folder decides who can put something else there.
        return None
    if part.kind != "folder":
        return f"{part.path} is not a folder"
    if part.path == place.runtime_folder and part.owner != uid:
        return f"the runtime folder {part.path} belongs to {user(part.owner)}, not to this user"
    is_appointed = part.path == place.folder and above is not None and _is_roots_alone(above)
    if part.owner not in (0, uid) and not is_appointed:
        return f"{part.path} belongs to {user(part.owner)}, neither to root nor to this user"
    is_sticky = part.owner == 0 and part.mode & stat.S_ISVTX
    keeps_below = is_sticky and (below is None or below.owner == uid)
    if part.mode & _OTHERS_WRITE and not keeps_below:
        return f"other users can write to {part.path} (its mode is {part.mode:04o})"
    return None


def _is_roots_alone(folder: Part) -> bool:
    return folder.owner == 0 and not folder.mode & _OTHERS_WRITE


def walk(place: Place, uid: int, look: Look | None = None) -> Finding | None:
    """Walks from `/` to the file and judges each part; distrust counts before a missing part."""
    parts, hidden = [], None
    for path in place.way:
        try:
            parts.append((look or _look)(path))
        except OSError as error:
            hidden = error
            break
    if problem := judge(place, uid, parts):
        return Finding("untrusted", f"not trusted: {problem}")
    return of_error(hidden, place.path) if hidden else None


def obstacle(place: Place, uid: int, look: Look | None = None) -> Finding | None:
    """Why a default socket is not even connected to: its path is too long, not trusted, or does not exist."""
    return length_of(place.path) or walk(place, uid, look)


def length_of(socket: str) -> Finding | None:
    """The finding for a path that does not fit into a socket's address; `None` if it fits."""
    return TOO_LONG if len(os.fsencode(socket)) > MAX_PATH_BYTES else None


def of_error(error: OSError, path: str | None) -> Finding:
    """The finding for an error of the system at a file, or at a TCP port without one."""
    if error.errno in _MISSING:
        return Finding("missing", "no such file", waiting_helps=True)
    if error.errno == errno.ECONNREFUSED:
        return Finding("refused", f"connection refused{_owner(path)}", waiting_helps=True)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Finding("forbidden", f"permission denied{_owner(path)}")
    if error.errno is None:
        return Finding("failed", "no answer in time", waiting_helps=True)
    return Finding("failed", os.strerror(error.errno), waiting_helps=error.errno in _OF_A_RESTART)


def search(
    candidates: Sequence[_T], attempt: Callable[[_T], Finding | None]
) -> tuple[_T | None, list[tuple[_T, Finding]]]:
    """Tries the candidates in their order, until one works or its finding ends the search.

    Returns the one that worked, and the findings at the others; the last of them ended the search.
    """
    in_vain: list[tuple[_T, Finding]] = []
    for candidate in candidates:
        finding = attempt(candidate)
        if finding is None:
            return candidate, in_vain
        in_vain.append((candidate, finding))
        if not finding.is_absence:
            break
    return None, in_vain


def user(uid: int) -> str:
    """The name of a user in messages."""
    return f"uid {uid}" if uid else "root"


def _owner(path: str | None) -> str:
    """The owner of what is at the path, or of the last part on the way that can be seen."""
    for part in (Path(path), *Path(path).parents) if path else ():
        with contextlib.suppress(OSError):
            return f"; {part} belongs to {user(part.stat().st_uid)}"
    return ""


def _look(path: str) -> Part:
    found = os.lstat(path)
    kind: Literal["folder", "link", "other"] = "other"
    if stat.S_ISLNK(found.st_mode):
        kind = "link"
    elif stat.S_ISDIR(found.st_mode):
        kind = "folder"
    return Part(path, kind, found.st_uid, stat.S_IMODE(found.st_mode))
