"""The default places of a broker, and trust in the way to them.

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
from pathlib import Path
from typing import Callable, Literal

SYSTEM_SOCKET = "/run/cardbroker/cardbroker.sock"
"""The socket of the system's broker, and the only default of root."""

MAX_PATH_BYTES = 107
"""The longest path of a socket, in bytes."""

_OTHERS_WRITE = 0o022
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_PASSING = (errno.EAGAIN, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT)


@dataclass(frozen=True)
class Place:
    """A socket at which a client looks for a broker that nobody has named."""

    socket: str
    is_own: bool
    """Whether it lies in the user's runtime folder, which must belong to the user."""

    @property
    def paths(self) -> list[str]:
        """The paths on the way, from `/` to the socket."""
        socket = Path(self.socket)
        return [str(path) for path in (*reversed(socket.parents), socket)]


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
    is_passing: bool = False
    """Whether a broker that starts may be the cause, so that waiting may help."""

    @property
    def goes_on(self) -> bool:
        """Whether there is no broker at this place, so that the next one is tried."""
        return self.kind in ("missing", "refused")


TOO_LONG = Finding("too_long", f"the path is longer than a socket's {MAX_PATH_BYTES} bytes")

OTHER_PROGRAM = Finding("other_program", "another program: it has another certificate or no TLS")

CLOSED = Finding("failed", "the connection was closed", is_passing=True)

Look = Callable[[str], Part]
"""Returns the part at a path; raises `OSError`."""


def places(environment: Mapping[str, str], uid: int) -> tuple[Place, ...]:
    """The default places of a user, in the order in which a client tries them."""
    system = Place(SYSTEM_SOCKET, is_own=False)
    if uid == 0:
        return (system,)
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    folder = runtime.rstrip("/") if runtime.startswith("/") else f"/run/user/{uid}"
    return (Place(f"{folder}/cardbroker/cardbroker.sock", is_own=True), system)


def judge(place: Place, uid: int, parts: Sequence[Part]) -> str | None:
    """The first part that lets another user decide what is at the place; `None` if there is none.

    `parts` begins with `/`; the last ones are absent if they do not exist or cannot be seen.
    """
    # The socket is the last part, its folder the one before, and the runtime folder the one before that.
    socket = len(place.paths) - 1
    for index, part in enumerate(parts):
        if part.kind == "link":
            return f"{part.path} is a symbolic link"
        if index == socket:
            break
        if part.kind != "folder":
            return f"{part.path} is not a folder"
        above = parts[index - 1] if index else None
        is_appointed = index == socket - 1 and above and above.owner == 0 and not above.mode & _OTHERS_WRITE
        keeps_next = (
            part.owner == 0 and part.mode & stat.S_ISVTX and all(n.owner == uid for n in parts[index + 1 :][:1])
        )
        if place.is_own and index == socket - 2 and part.owner != uid:
            return f"the runtime folder {part.path} belongs to {user(part.owner)}, not to this user"
        if part.owner not in (0, uid) and not is_appointed:
            return f"{part.path} belongs to {user(part.owner)}, neither to root nor to this user"
        if part.mode & _OTHERS_WRITE and not keeps_next:
            return f"other users can write to {part.path} (its mode is {part.mode:04o})"
    return None


def walk(place: Place, uid: int, look: Look | None = None) -> Finding | None:
    """Walks from `/` to the socket and judges each part; distrust counts before a missing part."""
    parts, hidden = [], None
    for path in place.paths:
        try:
            parts.append((look or _look)(path))
        except OSError as error:
            hidden = error
            break
    if problem := judge(place, uid, parts):
        return Finding("untrusted", f"not trusted: {problem}")
    return of_error(hidden, place.socket) if hidden else None


def of_error(error: OSError, socket: str | None) -> Finding:
    """The finding for an error of the system at a socket, or at a TCP port without one."""
    if error.errno in _MISSING:
        return Finding("missing", "no such file", is_passing=True)
    if error.errno == errno.ECONNREFUSED:
        return Finding("refused", f"connection refused{_owner(socket)}", is_passing=True)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Finding("forbidden", f"permission denied{_owner(socket)}")
    if error.errno is None:
        return Finding("failed", "no answer in time", is_passing=True)
    return Finding("failed", os.strerror(error.errno), is_passing=error.errno in _PASSING)


def search(
    candidates: Sequence[Place], attempt: Callable[[Place], Finding | None]
) -> tuple[Place | None, list[tuple[Place, Finding]]]:
    """Tries the places in their order, until one works or its finding ends the search.

    Returns the place that worked, and the findings at the others; the last of them ended the search.
    """
    tried: list[tuple[Place, Finding]] = []
    for place in candidates:
        finding = attempt(place)
        if finding is None:
            return place, tried
        tried.append((place, finding))
        if not finding.goes_on:
            break
    return None, tried


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
