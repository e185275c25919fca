"""Endpoints: the address of a broker, and its text form."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from cardbroker._errors import EndpointError

ENDPOINT_VARIABLE = "CARDBROKER_ENDPOINT"
"""The environment variable with the broker's endpoint: `unix:/path`, `https://127.0.0.1:port` or `tcp:auto`."""

AUTO = "tcp:auto"
"""The text of the endpoint that means the port in this user's endpoint file."""

_TCP = re.compile(r"(?P<scheme>https?)://(?P<host>localhost|[0-9.]+|\[[0-9a-fA-F:]+\]):(?P<port>0|[1-9][0-9]{0,4})/?")


@dataclass(frozen=True)
class Endpoint:
    """An address of a broker: a Unix socket by its absolute path, a TCP port, or `tcp:auto`."""

    path: str = ""
    """The absolute path of the socket; empty for TCP."""
    host: str = ""
    """`localhost` or an IP address (IPv6 in brackets), without TLS only of this machine; empty without a port."""
    port: int = 0
    """The TCP port, 0-65535; 0 for a Unix socket and for `tcp:auto`."""
    is_plain: bool = False
    """Whether TCP is without TLS: a program that takes or relays the port reads tokens and PINs."""
    is_auto: bool = False
    """Whether this is `tcp:auto`, the port in the endpoint file of this user's broker."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads `unix:/path`, `unix:///path`, `https://HOST:PORT`, `tcp:auto`, or `http://HOST:PORT` for plain TCP.

        Raises `EndpointError` for anything else.
        """
        if text == AUTO:
            return cls(is_auto=True)
        if text.startswith("unix:"):
            path = text[len("unix:") :]
            path = path[2:] if path.startswith("//") else path
            if path.startswith("/") and not path.endswith("/"):
                return cls(path=path)
        elif tcp := _TCP.fullmatch(text):
            endpoint = cls(host=tcp["host"], port=int(tcp["port"]), is_plain=tcp["scheme"] == "http")
            if endpoint.port < 1 << 16 and (endpoint.is_loopback if endpoint.is_plain else endpoint._is_address):
                return endpoint
        raise EndpointError(text)

    @property
    def is_unix(self) -> bool:
        """Whether the endpoint is a Unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is a TCP port of this machine."""
        ip = self._ip
        return ip is not None and ip.is_loopback

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

    @property
    def _is_address(self) -> bool:
        """Whether a host may have the address of this TCP endpoint."""
        ip = self._ip
        return ip is not None and not ip.is_unspecified

    @property
    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            return ipaddress.ip_address(self.address)
        except ValueError:
            return None

    def __str__(self) -> str:
        if self.is_auto:
            return AUTO
        if self.path:
            return f"unix:{self.path}"
        return f"{'http' if self.is_plain else 'https'}://{self.host}:{self.port}"
