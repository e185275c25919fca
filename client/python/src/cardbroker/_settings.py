"""The settings of a client: where its broker may be, and the group and the token for it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cardbroker._endpoint import ENDPOINT_VARIABLE, Endpoint
from cardbroker._endpoint_file import endpoint_file_place, read_endpoint_file
from cardbroker._errors import InvalidError
from cardbroker._places import Finding, Place, places
from cardbroker._token_file import TOKEN_FIELD, TokenFile

GROUP_VARIABLE = "CARDBROKER_GROUP"
"""The environment variable with the key of the isolation group, which a parent may pass to its children."""

TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE"
"""The environment variable with the path of the token file for a TCP endpoint."""

GROUP_METADATA = "cardbroker-group"
"""The metadata key under which a client sends the key of its isolation group."""

TOKEN_METADATA = "authorization"
"""The metadata key under which a client sends its token."""

MAX_GROUP_CHARACTERS = 128
"""The longest key of an isolation group, in characters."""


@dataclass(frozen=True)
class Target:
    """An endpoint at which a client looks for its broker."""

    endpoint: Endpoint
    place: Place | None = None
    """The file that nobody has named, whose way must be trusted: a default socket, or the endpoint file."""

    @classmethod
    def named(cls, endpoint: Endpoint, environment: Mapping[str, str]) -> Target:
        """The target of an endpoint that the user has named."""
        return cls(endpoint, endpoint_file_place(environment, own_uid()) if endpoint.is_auto else None)


@dataclass(frozen=True, repr=False)
class Route:
    """All that one connection is made by. Its calls send no token of another reading of the file."""

    endpoint: Endpoint
    """A socket or a port."""
    certificate: str | None = None
    """The broker's certificate in PEM, the only one to accept; `None` without TLS."""
    token: str | None = None
    """The token of an endpoint file; `None` if the calls read the token file, if any."""


def default_targets(environment: Mapping[str, str], platform: str = sys.platform) -> tuple[Target, ...]:
    """Where a client looks for a broker that nobody has named, in this order.

    On Windows only at the port in the endpoint file, because gRPC cannot use the broker's pipe there. Nowhere else does
    a client use that file by itself.
    """
    if platform == "win32":
        auto = Endpoint(is_auto=True)
        return (Target(auto, endpoint_file_place(environment, 0, platform)),)
    return tuple(Target(Endpoint(path=place.path), place) for place in places(environment, own_uid()))


@dataclass(frozen=True)
class Settings:
    """The endpoint and the credentials of a client. Its `repr` hides the group, because the key admits to the group."""

    targets: tuple[Target, ...]
    """The named endpoint, or the default ones in their order."""
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
        """Takes each setting from the arguments, else the environment, else the defaults.

        Raises `InvalidError` also for a token file that is missing or unusable.
        """
        endpoint = endpoint or environment.get(ENDPOINT_VARIABLE)
        targets = (Target.named(Endpoint.parse(endpoint), environment),) if endpoint else default_targets(environment)
        group = environment.get(GROUP_VARIABLE, "") if group is None else group
        if not all("!" <= character <= "~" for character in group) or len(group) > MAX_GROUP_CHARACTERS:
            text = f"the isolation group is not 1 to {MAX_GROUP_CHARACTERS} visible ASCII characters"
            raise InvalidError(GROUP_METADATA, text)
        token_file = token_file or environment.get(TOKEN_FILE_VARIABLE) or None
        first = targets[0].endpoint
        # On the socket the operating system identifies the caller, and the endpoint file has a token of its own.
        needs_none = token_file is None or first.is_unix or first.is_auto
        if first.is_plain:
            text = f"{first} is plain TCP: a program that takes or relays the port reads tokens and PINs"
            warnings.warn(text, stacklevel=3)
        return cls(targets, group, None if needs_none or token_file is None else Path(token_file), connect_timeout)

    def route(self, target: Target) -> Route | Finding:
        """The route to a target now: reads the endpoint file, or the certificate in the token file.

        Raises `InvalidError` if the token file cannot be used.
        """
        endpoint = target.endpoint
        if endpoint.is_auto and target.place:
            found = read_endpoint_file(target.place, own_uid())
            return found if isinstance(found, Finding) else Route(found.endpoint, found.certificate, found.token)
        if endpoint.is_unix or (endpoint.is_plain and self.token_file is None):
            return Route(endpoint)
        if self.token_file is None:
            made = 'make one with "cardbroker token new"'
            text = f"{endpoint} needs a token file, which has the broker's certificate: {made}"
            raise InvalidError(TOKEN_FIELD, text)
        return Route(endpoint, TokenFile.read_for(self.token_file, is_plain=endpoint.is_plain).certificate or None)

    def metadata(self, route: Route) -> tuple[tuple[str, str], ...]:
        """The metadata of one call. Reads the token file anew, because the token may have been replaced.

        A token of another broker than that of the connection is not sent.
        """
        metadata = [(GROUP_METADATA, self.group)] if self.group else []
        if route.token:
            metadata.append((TOKEN_METADATA, f"Bearer {route.token}"))
        elif self.token_file:
            found = TokenFile.read_for(self.token_file, is_plain=route.endpoint.is_plain)
            if (found.certificate or None) != route.certificate:
                text = f"the token file {self.token_file} has another certificate than before: connect anew"
                raise InvalidError(TOKEN_FIELD, text)
            metadata.append((TOKEN_METADATA, f"Bearer {found.token}"))
        return tuple(metadata)

    def __repr__(self) -> str:
        return f"Settings({', '.join(str(target.endpoint) for target in self.targets)})"


def own_uid() -> int:
    """The user of this process; 0 on Windows, where nothing depends on it."""
    return os.geteuid() if sys.platform != "win32" else 0
