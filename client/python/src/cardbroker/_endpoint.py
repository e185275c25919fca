"""The broker's endpoint, and the group key and the token for it."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from cardbroker._errors import EndpointError, InvalidError
from cardbroker._places import Place, places
from cardbroker._secret_mount import is_mounted_secret

ENDPOINT_VARIABLE = "CARDBROKER_ENDPOINT"
"""The environment variable with the broker's endpoint: `unix:/path` or `https://127.0.0.1:port`."""

GROUP_VARIABLE = "CARDBROKER_GROUP"
"""The environment variable with the key of the isolation group, which a parent may pass to its children."""

TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE"
"""The environment variable with the path of the token file for a TCP endpoint."""

GROUP_METADATA = "cardbroker-group"
"""The metadata key under which a client sends the key of its isolation group."""

MAX_GROUP_CHARACTERS = 128
"""The longest key of an isolation group, in characters."""

MAX_PRIVATE_BYTES = 1 << 20
"""The longest token file, in bytes."""

_TCP = re.compile(r"(?P<scheme>https?)://(?P<host>localhost|[0-9.]+|\[[0-9a-fA-F:]+\]):(?P<port>0|[1-9][0-9]{0,4})/?")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True)
class Endpoint:
    """An address of a broker: a Unix socket by its absolute path, or a TCP port of this machine."""

    path: str = ""
    """The absolute path of the socket; empty for TCP."""
    host: str = ""
    """`localhost` or a loopback address (IPv6 in brackets); empty for a Unix socket."""
    port: int = 0
    """The TCP port, 0-65535; 0 for a Unix socket."""
    is_plain: bool = False
    """Whether TCP is without TLS: a program that takes or relays the port reads tokens and PINs."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads `unix:/path`, `unix:///path`, `https://HOST:PORT`, or `http://HOST:PORT` for plain TCP.

        Raises `EndpointError` for anything else.
        """
        if text.startswith("unix:"):
            path = text[len("unix:") :]
            path = path[2:] if path.startswith("//") else path
            if path.startswith("/") and not path.endswith("/"):
                return cls(path=path)
        elif tcp := _TCP.fullmatch(text):
            host, port = tcp["host"], int(tcp["port"])
            if port < 1 << 16 and _is_local(host):
                return cls(host=host, port=port, is_plain=tcp["scheme"] == "http")
        raise EndpointError(text)

    @property
    def is_unix(self) -> bool:
        """Whether the endpoint is a Unix socket."""
        return bool(self.path)

    @property
    def address(self) -> str:
        """The IP address for TCP. `localhost` is not resolved: another program may have the port at another address."""
        return "127.0.0.1" if self.host == "localhost" else self.host.strip("[]")

    @property
    def target(self) -> str:
        """The endpoint in gRPC's notation."""
        if self.path:
            return f"unix:{quote(self.path)}"
        return f"dns:///{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}"

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{'http' if self.is_plain else 'https'}://{self.host}:{self.port}"


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
        if (named := targets[0].endpoint).is_plain:
            text = f"{named} is plain TCP: a program that takes or relays the port reads tokens and PINs"
            warnings.warn(text, stacklevel=3)
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
        return self if self.targets == (target,) else replace(self, targets=(target,))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call. Reads the token file anew, because the token may have been replaced.

        A token of another broker than that of the connection is not sent.
        """
        metadata = [(GROUP_METADATA, self.group)] if self.group else []
        if self.token_file:
            held = self._held()
            if held.certificate != self.certificate and not self.endpoint.is_plain:
                text = f"the token file {self.token_file} has another certificate than before: connect anew"
                raise InvalidError("authorization", text)
            metadata.append(("authorization", f"Bearer {held.token}"))
        return tuple(metadata)

    @cached_property
    def certificate(self) -> str | None:
        """The broker's certificate in PEM, the only one that this client accepts; `None` without TLS."""
        if self.endpoint.is_unix or self.endpoint.is_plain:
            return None
        if self.token_file is None:
            made = 'make one with "cardbroker token new"'
            text = f"{self.endpoint} needs a token file, which has the broker's certificate: {made}"
            raise InvalidError("token_file", text)
        return self._held().certificate

    def _held(self) -> TokenFile:
        """The token file's content. A token that came with a certificate is not sent over plain TCP."""
        assert self.token_file
        held = TokenFile.read(self.token_file)
        if not held.certificate and not self.endpoint.is_plain:
            made = 'make a new one with "cardbroker token new", or use http:// for plain TCP'
            raise InvalidError("authorization", f"the token file {self.token_file} has no certificate: {made}")
        if held.certificate and self.endpoint.is_plain:
            text = f"the token file {self.token_file} has a certificate, and http:// is plain TCP: use https://"
            raise InvalidError("authorization", text)
        return held

    def __repr__(self) -> str:
        return f"Settings({self.endpoint})"


@dataclass(frozen=True, repr=False)
class TokenFile:
    """What a token file holds."""

    token: str
    certificate: str
    """The broker's certificate in PEM; empty in a file for plain TCP."""

    @classmethod
    def read(cls, file: Path) -> TokenFile:
        """Reads the token in the first line and the certificate after it; raises `InvalidError` if it cannot."""
        try:
            token, _, certificate = _private_bytes(file).decode("ascii").strip().partition("\n")
        except OSError as error:
            raise InvalidError("authorization", f"the token file {file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            token = certificate = ""
        except ValueError as error:
            raise InvalidError("authorization", f"the token file {file} {error}") from None
        token, certificate = token.strip(), certificate.strip()
        made = 'as made by "cardbroker token new"'
        if not token or not all("!" <= character <= "~" for character in token):
            text = f"the token file {file} holds no token: one line of visible ASCII, {made}"
            raise InvalidError("authorization", text)
        if certificate and not _CERTIFICATE.fullmatch(certificate):
            text = f"the token file {file} has more than a token and a certificate in PEM, {made}"
            raise InvalidError("authorization", text)
        return cls(token, certificate)


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
