"""The connection to the broker, one for each process, and what a client does before it has one.

gRPC connects a channel again by itself, and tells why it cannot in prose only. So each connection has a channel of its
own: before it is made, this module walks the way to the broker and connects once itself.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union, cast

import grpc

from cardbroker import _process
from cardbroker._endpoint import Endpoint
from cardbroker._places import CLOSED, OTHER_PROGRAM, Finding, length_of, obstacle, of_error, search, walk
from cardbroker._relay import RelayChannel
from cardbroker._settings import Route, Settings, Target, own_uid
from cardbroker._state import FIRST_PAUSE, State, connecting, state_of
from cardbroker._token_file import der_of
from cardbroker._waiting import NO_ANSWER, SHORTEST_ATTEMPT, Attempt, NotRunningError, waiting
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

Channel = Union[grpc.Channel, RelayChannel]

MAX_OLD = 2
"""The number of lost connections that a client keeps, because a broker that ends may still answer calls on them."""


def options(endpoint: Endpoint, connect_timeout: float) -> list[tuple[str, str | int]]:
    """The options of gRPC's channel; `connect_timeout` in seconds."""
    chosen: list[tuple[str, str | int]] = [
        # The connection is the broker's caller: clients do not share one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        # This client decides on repeats, never gRPC.
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # The first is the time limit of one attempt to connect, in spite of its name; the others are pauses.
        ("grpc.min_reconnect_backoff_ms", int(max(connect_timeout, SHORTEST_ATTEMPT) * 1000)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    if endpoint.is_unix:
        # The default authority is the socket's path, which HTTP/2 refuses.
        chosen.append(("grpc.default_authority", "localhost"))
    elif not endpoint.is_plain:
        # The name in the broker's certificate, whatever the address.
        chosen.append(("grpc.ssl_target_name_override", "localhost"))
    return chosen


def credentials(certificate: str) -> grpc.ChannelCredentials:
    """The credentials that accept this certificate and no other: it is the only root, and cannot sign others."""
    return grpc.ssl_channel_credentials(root_certificates=certificate.encode())


@dataclass(frozen=True, repr=False)
class Line:
    """A connection as one call uses it."""

    stub: CardBrokerServiceStub
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, repr=False)
class _Connection:
    """A channel that has connected once."""

    route: Route
    channel: Channel
    stub: CardBrokerServiceStub


class Wire:
    """The connection of a client; a forked child gets a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._targets = settings.targets
        """The named endpoint, or the default ones; after the first connection the one that has worked."""
        self._lock = threading.Lock()
        """Guards the connections."""
        self._connecting = threading.Lock()
        """Held by the thread that connects."""
        self._connection: _Connection | None = None
        self._old: deque[_Connection] = deque()
        self.is_closed = False
        """Whether this program has closed the connection."""
        _process.register(self)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the broker, as far as it is known."""
        return self._targets[0].endpoint

    def line(self) -> Line | None:
        """The line for a call on the present connection; `None` if there is none. Raises after `close`."""
        with self._lock:
            if self.is_closed:
                raise closed()
            connection = self._connection
        if connection is None or _state(connection.channel) is not State.READY:
            return None
        check(self._targets[0])
        return Line(connection.stub, self._settings.metadata(connection.route))

    def reach(self, timeout: float, end: float = math.inf) -> Line:
        """The line for a call; waits for a connection. Raises `NotRunningError` if the wait ends without one."""
        if line := self.line():
            return line
        latest = min(time.monotonic() + max(timeout, SHORTEST_ATTEMPT), end) - time.monotonic()
        if not self._connecting.acquire(timeout=min(max(latest, 0), threading.TIMEOUT_MAX)):
            raise NotRunningError([(self.endpoint, NO_ANSWER)])
        try:
            # Another thread may have connected meanwhile.
            if line := self.line():
                return line
            self._connect(timeout, end)
            if line := self.line():
                return line
            raise NotRunningError([(self.endpoint, CLOSED)])
        finally:
            self._connecting.release()

    def close(self) -> None:
        """Closes the connection; later calls fail."""
        with self._lock:
            self.is_closed = True
            every = [*self._old, *([self._connection] if self._connection else [])]
        for connection in every:
            connection.channel.close()

    def on_fork(self) -> None:
        """Leaves the connections to the parent."""
        self._lock, self._connecting = threading.Lock(), threading.Lock()
        for connection in (*self._old, self._connection):
            if connection is None:
                continue
            if isinstance(connection.channel, RelayChannel):
                connection.channel.on_fork()
            else:
                _process.keep(connection.channel)
                _process.keep(connection.stub)
                _process.keep(connection)
        self._connection = None
        self._old = deque()

    def _connect(self, timeout: float, end: float) -> None:
        waits, failure = waiting(timeout, time.monotonic, end), None
        while True:
            try:
                wanted = waits.send(failure)
            except StopIteration:
                return
            failure = None
            if isinstance(wanted, Attempt):
                failure = self._attempt(wanted.end)
            else:
                time.sleep(wanted.seconds)

    def _attempt(self, end: float) -> NotRunningError | None:
        looked = look(self._settings, self._targets, end)
        if isinstance(looked, NotRunningError):
            return looked
        target, route = looked
        channel = self._open(route)
        stub = CardBrokerServiceStub(cast("grpc.Channel", channel))
        if not _becomes_ready(channel, end):
            channel.close()
            return NotRunningError([(target.endpoint, NO_ANSWER)])
        with self._lock:
            if self.is_closed:
                channel.close()
                raise closed()
            if self._connection:
                self._old.append(self._connection)
            self._connection = _Connection(route, channel, stub)
            self._targets = (target,)
            evicted = self._old.popleft() if len(self._old) > MAX_OLD else None
        if evicted:
            evicted.channel.close()
        return None

    def _open(self, route: Route) -> Channel:
        endpoint = route.endpoint
        chosen = options(endpoint, self._settings.connect_timeout)
        if _process.is_child():
            return RelayChannel(endpoint.target, chosen, route.certificate)
        _process.on_connect(endpoint)
        if route.certificate:
            return grpc.secure_channel(endpoint.target, credentials(route.certificate), chosen)
        return grpc.insecure_channel(endpoint.target, chosen)


def look(settings: Settings, targets: Sequence[Target], end: float) -> tuple[Target, Route] | NotRunningError:
    """Connects once to the first target that works, and disconnects. Returns that target with the route to it.

    Raises `InvalidError` if the token file cannot be used.
    """
    routes: list[Route] = []

    def attempt(target: Target) -> Finding | None:
        route = _obstacle(target) or settings.route(target)
        if isinstance(route, Finding):
            return route
        routes.append(route)
        return _probe(route, min(max(end - time.monotonic(), FIRST_PAUSE), SHORTEST_ATTEMPT))

    found, in_vain = search(targets, attempt)
    if found:
        return found, routes[-1]
    return NotRunningError([(target.endpoint, finding) for target, finding in in_vain])


def check(target: Target) -> None:
    """Raises `NotRunningError` if a default place is no longer trusted."""
    finding = walk(target.place, own_uid()) if target.place and target.endpoint.is_unix else None
    if finding and finding.kind == "untrusted":
        raise NotRunningError([(target.endpoint, finding)])


def closed() -> ValueError:
    """The error for a call after the client was closed: that of gRPC itself."""
    return ValueError("Cannot invoke RPC on closed channel!")


def _becomes_ready(channel: Channel, end: float) -> bool:
    for pause in connecting(lambda begin: _state(channel, begin=begin), time.monotonic, end):
        time.sleep(pause)
    return _state(channel) is State.READY


def _state(channel: Channel, *, begin: bool = False) -> State:
    return channel.state(begin=begin) if isinstance(channel, RelayChannel) else state_of(channel, begin=begin)


def _obstacle(target: Target) -> Finding | None:
    """Why a socket is not even connected to."""
    if not target.endpoint.is_unix:
        return None
    return obstacle(target.place, own_uid()) if target.place else length_of(target.endpoint.path)


def _probe(route: Route, timeout: float) -> Finding | None:
    try:
        with _connect(route.endpoint, timeout) as connection:
            if route.certificate and not _is_broker(connection, route.certificate):
                return OTHER_PROGRAM
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        # Closed in the handshake: perhaps by a relay whose broker is away.
        return CLOSED
    except ssl.SSLError:
        return OTHER_PROGRAM
    except OSError as error:
        return of_error(error, route.endpoint.path or None)
    return None


def _connect(endpoint: Endpoint, timeout: float) -> socket.socket:
    if not endpoint.is_unix:
        return socket.create_connection((endpoint.address, endpoint.port), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(endpoint.path)
    except OSError:
        connection.close()
        raise
    return connection


def _is_broker(connection: socket.socket, certificate: str) -> bool:
    """Makes the handshake of TLS, as gRPC does it; raises `ssl.SSLError` if the other side does not pass it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    with context.wrap_socket(connection, server_hostname="localhost") as secured:
        return secured.getpeercert(binary_form=True) == der_of(certificate)
