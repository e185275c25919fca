"""The broker's endpoint, and the group key and the token for it."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from cardbroker._errors import EndpointError, InvalidError
from cardbroker._places import Place, places
from cardbroker._secret_mount import is_mounted_secret

ENDPOINT_VARIABLE = "CARDBROKER_ENDPOINT"
"""The environment variable with the broker's endpoint: `unix:/path` or `http://127.0.0.1:port`."""

GROUP_VARIABLE = "CARDBROKER_GROUP"
"""The environment variable with the key of the isolation group, which a parent may pass to its children."""

TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE"
"""The environment variable with the path of the token file for an `http://` endpoint."""

GROUP_METADATA = "cardbroker-group"
"""The metadata key under which a client sends the key of its isolation group."""

MAX_GROUP_CHARACTERS = 128
"""The longest key of an isolation group, in characters."""

MAX_PRIVATE_BYTES = 1 << 20
"""The longest token file, in bytes."""

_TCP = re.compile(r"http://(?P<host>localhost|[0-9.]+|\[[0-9a-fA-F:]+\]):(?P<port>0|[1-9][0-9]{0,4})/?")


@dataclass(frozen=True)
class Endpoint:
    """An address of a broker: a Unix socket by its absolute path, or a TCP port of this machine."""

    path: str = ""
    """The absolute path of the socket; empty for TCP."""
    host: str = ""
    """`localhost` or a loopback address (IPv6 in brackets); empty for a Unix socket."""
    port: int = 0
    """The TCP port, 0-65535; 0 for a Unix socket."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads `unix:/path`, `unix:///path` or `http://HOST:PORT`; raises `EndpointError` for anything else."""
        if text.startswith("unix:"):
            path = text[len("unix:") :]
            path = path[2:] if path.startswith("//") else path
            if path.startswith("/") and not path.endswith("/"):
                return cls(path=path)
        elif tcp := _TCP.fullmatch(text):
            host, port = tcp["host"], int(tcp["port"])
            if port < 1 << 16 and _is_local(host):
                return cls(host=host, port=port)
        raise EndpointError(text)

    @property
    def is_unix(self) -> bool:
        """Whether the endpoint is a Unix socket."""
        return bool(self.path)

    @property
    def target(self) -> str:
        """The endpoint in gRPC's notation."""
        return f"unix:{quote(self.path)}" if self.path else f"dns:///{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    """An endpoint, and its default place unless somebody has named it."""

    endpoint: Endpoint
    place: Place | None = None


@dataclass(frozen=True)
class Settings:
    """The endpoint and the credentials of a client. Its `repr` hides the group, because the key admits to the group."""

    targets: tuple[Target, ...]
    """The named endpoint, or the default places in their order; the one that has worked after the first connection."""
    group: str
    """The key of the isolation group; empty for a group of its own."""
    token_file: Path | None
    connect_timeout: float
    """The longest wait for a broker that is away, in seconds."""

    @classmethod
    def of(
        cls,
        endpoint: str | None,
        group: str | None,
        token_file: os.PathLike[str] | str | None,
        connect_timeout: float,
        environment: Mapping[str, str],
    ) -> Settings:
        """Takes each setting from the arguments, else the environment, else the defaults."""
        endpoint = endpoint or environment.get(ENDPOINT_VARIABLE)
        if endpoint:
            targets: tuple[Target, ...] = (Target(Endpoint.parse(endpoint)),)
        else:
            targets = tuple(Target(Endpoint(path=at.socket), at) for at in places(environment, os.geteuid()))
        group = environment.get(GROUP_VARIABLE, "") if group is None else group
        if not all("!" <= character <= "~" for character in group) or len(group) > MAX_GROUP_CHARACTERS:
            text = f"the isolation group is not 1 to {MAX_GROUP_CHARACTERS} visible ASCII characters"
            raise InvalidError(GROUP_METADATA, text)
        token_file = token_file or environment.get(TOKEN_FILE_VARIABLE) or None
        # On the socket the operating system identifies the caller.
        token_file = None if targets[0].endpoint.is_unix or token_file is None else Path(token_file)
        return cls(targets, group, token_file, connect_timeout)

    @property
    def target(self) -> Target:
        """The place of the broker, as far as it is known."""
        return self.targets[0]

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the broker, as far as it is known."""
        return self.target.endpoint

    def at(self, target: Target) -> Settings:
        """The settings of a client that stays with this target."""
        return replace(self, targets=(target,))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call. Reads the token file anew, because the token may have been replaced."""
        metadata = [(GROUP_METADATA, self.group)] if self.group else []
        if self.token_file:
            metadata.append(("authorization", f"Bearer {_token(self.token_file)}"))
        return tuple(metadata)

    def __repr__(self) -> str:
        return f"Settings({self.endpoint})"


def _token(file: Path) -> str:
    try:
        text = _private_bytes(file).decode("ascii")
    except OSError as error:
        raise InvalidError("authorization", f"the token file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    except ValueError as error:
        raise InvalidError("authorization", f"the token file {file} {error}") from None
    # A certificate may follow.
    found = re.fullmatch(r"([!-~]+)(\s*\n\s*-----BEGIN .*)?", text.strip(), re.DOTALL)
    if not found:
        message = f'the token file {file} holds no token: one line of visible ASCII, as made by "cardbroker token new"'
        raise InvalidError("authorization", message)
    return found[1]


def _private_bytes(file: Path) -> bytes:
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


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
