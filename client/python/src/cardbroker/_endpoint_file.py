"""The file in which a broker that chose its TCP port itself (`--tcp auto`) leaves its endpoint for its user.

It has the port, a token and the broker's certificate. The file is read anew before each connection; all three belong
together.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from cardbroker._endpoint import Endpoint
from cardbroker._errors import EndpointError
from cardbroker._places import Finding, Place, of_error, places, user, walk
from cardbroker._token_file import der_of, is_authority, is_token

NAME = "endpoint.json"
"""The name of the file, in the folder of the default socket."""

MAX_BYTES = 64 << 10
"""The longest endpoint file, in bytes."""

_PORT = re.compile(r"https://(127(\.(0|[1-9][0-9]*)){3}|\[::1\]):[1-9][0-9]*")
"""A loopback port with TLS in the one notation that a broker writes."""


@dataclass(frozen=True, repr=False)
class EndpointFile:
    """What an endpoint file holds."""

    endpoint: Endpoint
    """A TCP port of this machine, with TLS."""
    token: str
    certificate: str
    """The broker's certificate in PEM."""
    pid: int
    """The broker's process, at least 1."""
    start_time: int | None
    """The process's start, in the system's ticks since its boot, where the broker could tell it."""

    @classmethod
    def parse(cls, text: str) -> EndpointFile:
        """Parses the text of an endpoint file; `ValueError` names the first problem."""
        found = _object(text)
        token, endpoint, certificate = (_text(found, key) for key in ("token", "endpoint", "certificate"))
        if not is_token(token):
            raise _invalid("token")
        port = _port(endpoint)
        if der_of(certificate.strip()) is None or is_authority(certificate):
            raise _invalid("certificate")
        pid = _integer(found, "pid", 1, (1 << 32) - 1)
        start_time = _integer(found, "start_time", 0, (1 << 64) - 1) if "start_time" in found else None
        return cls(port, token, certificate.strip(), pid, start_time)


def endpoint_file_place(environment: Mapping[str, str], uid: int, platform: str = sys.platform) -> Place:
    """The place of this user's endpoint file: beside the first default socket.

    Its path is empty on Windows without an absolute path in LOCALAPPDATA: a relative one would lead to the current
    folder, where others may put files.
    """
    if platform == "win32":
        folder = PureWindowsPath(environment.get("LOCALAPPDATA", ""))
        return Place(str(folder / "cardbroker" / NAME) if folder.is_absolute() else "", is_own=True)
    return places(environment, uid)[0].beside(NAME)


def read_endpoint_file(place: Place, uid: int) -> EndpointFile | Finding:
    """Reads the file of a broker that still runs, if no other user decides what is there; else says why not."""
    if not place.path:
        return Finding("missing", "no such place: LOCALAPPDATA is no absolute path")
    # The folder of a user's data on Windows is protected by the system.
    finding = walk(place, uid) if sys.platform != "win32" else None
    if finding:
        return _at(place, finding)
    try:
        content = _read(place.path, uid)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Finding("untrusted", f"not trusted: {place.path} is a symbolic link")
        return _at(place, of_error(error, place.path))
    if isinstance(content, Finding):
        return content
    try:
        found = EndpointFile.parse(_decoded(content))
    except ValueError as error:
        return Finding("failed", f"{place.path} {error}", is_malformed=True)
    if has_ended(found.pid, found.start_time):
        return Finding("refused", f"its broker, process {found.pid}, has ended; see {place.path}", waiting_helps=True)
    return found


def has_ended(pid: int, start_time: int | None) -> bool:
    """Whether the process has ended, as far as the system tells; another one may have its number now."""
    if sys.platform == "win32":
        # The question would end the process there. A broker that is gone refuses the connection.
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name in the second field may hold anything, but the last bracket ends it.
        _, _, fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
        state, started = fields.split()[0], int(fields.split()[19])
        # A process that its parent has not waited for still has its number.
        return state in ("Z", "X") or start_time not in (None, started)
    return False


def _read(path: str, uid: int) -> bytes | Finding:
    # A pipe without a writer would block.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        if problem := _distrust(found, uid):
            return Finding("untrusted", f"not trusted: {path} {problem}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _distrust(found: os.stat_result, uid: int) -> str | None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if sys.platform == "win32":
        return None
    if found.st_uid != uid:
        return f"belongs to {user(found.st_uid)}, not to this user"
    return f"is open to other users (its mode is {mode:04o})" if mode & 0o077 else None


def _at(place: Place, finding: Finding) -> Finding:
    """The finding with the file's name, where the finding does not name it."""
    if finding.kind == "missing":
        return Finding(finding.kind, f"{finding.text}: {place.path}", finding.waiting_helps)
    if finding.kind == "failed":
        return Finding(finding.kind, f"{place.path}: {finding.text}", finding.waiting_helps)
    return finding


def _decoded(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise ValueError("is longer than 64 KiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _no_object() from None


def _object(text: str) -> Mapping[str, object]:
    def refuse(_: str) -> None:
        raise _no_object()

    def integer(spelling: str) -> int | float:
        # "-0" is 0 as an `int`.
        return float(spelling) if spelling.startswith("-") else int(spelling)

    try:
        found = json.loads(text, parse_constant=refuse, parse_int=integer)
    except (ValueError, RecursionError):
        raise _no_object() from None
    if not isinstance(found, dict):
        raise _no_object()
    return found


def _no_object() -> ValueError:
    return ValueError("is not one JSON object")


def _invalid(key: str) -> ValueError:
    return ValueError(f'has no valid "{key}"')


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _port(text: str) -> Endpoint:
    try:
        endpoint = Endpoint.parse(text)
    except EndpointError:
        raise _invalid("endpoint") from None
    if not _PORT.fullmatch(text):
        raise _invalid("endpoint")
    return endpoint


def _integer(found: Mapping[str, object], key: str, least: int, most: int) -> int:
    value = found.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise _invalid(key)
