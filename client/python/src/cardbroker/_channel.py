"""gRPC's channel to the broker, one for each process, and the first check for a listener."""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import cast

import grpc

from cardbroker import _process
from cardbroker._endpoint import Endpoint, Settings, Target
from cardbroker._places import CLOSED, MAX_PATH_BYTES, OTHER_PROGRAM, TOO_LONG, Finding, of_error, search, walk
from cardbroker._relay import RelayChannel, is_ready
from cardbroker._waiting import SHORTEST_ATTEMPT, Look, NotRunningError, Waiting, waiting
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub


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


class Wire:
    """The connection of a client; a forked child gets a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._channel: grpc.Channel | RelayChannel | None = None
        self._stub: CardBrokerServiceStub | None = None
        self.is_closed = False
        """Whether this program has closed the connection."""
        _process.register(self)

    @property
    def stub(self) -> CardBrokerServiceStub:
        """The stub for the calls of this process."""
        with self._lock:
            if self._stub is None:
                self._channel = self._open()
                self._stub = CardBrokerServiceStub(cast("grpc.Channel", self._channel))
            return self._stub

    def is_connected(self) -> bool:
        """Whether there is a connection; otherwise gRPC has now begun to connect. Raises after `close`."""
        assert self.stub
        channel = self._channel
        return channel.is_connected() if isinstance(channel, RelayChannel) else is_ready(channel)

    def reach(self, timeout: float, end: float = math.inf) -> None:
        """Waits for a connection before a call; raises `NotRunningError` if the wait ends without one."""
        check(self._settings.target)
        if not self.is_connected():
            settings = self._settings
            waits = waiting(settings.endpoint, timeout, time.monotonic, self.is_connected, end)
            wait(settings.targets, waits, settings.certificate)

    def close(self) -> None:
        """Closes the connection; later calls fail."""
        with self._lock:
            self.is_closed = True
            if self._channel is None:
                # A later call then fails as on any closed channel.
                self._channel = self._open()
                self._stub = CardBrokerServiceStub(cast("grpc.Channel", self._channel))
            self._channel.close()

    def on_fork(self) -> None:
        """Leaves the connection to the parent."""
        self._lock = threading.Lock()
        if isinstance(self._channel, RelayChannel):
            self._channel.on_fork()
        elif self._channel is not None:
            _process.keep(self._channel)
            _process.keep(self._stub)
        self._channel = self._stub = None

    def _open(self) -> grpc.Channel | RelayChannel:
        endpoint = self._settings.endpoint
        chosen = options(endpoint, self._settings.connect_timeout)
        certificate = self._settings.certificate
        if _process.is_child():
            return RelayChannel(endpoint.target, chosen, certificate)
        _process.on_connect(endpoint)
        if certificate:
            return grpc.secure_channel(endpoint.target, credentials(certificate), chosen)
        return grpc.insecure_channel(endpoint.target, chosen)


def look(
    targets: Sequence[Target], timeout: float, certificate: str | None = None
) -> tuple[Target, NotRunningError | None]:
    """Connects once to the first target that works, and disconnects.

    Returns that target, or the error. Raises an error that waiting cannot resolve.
    """
    if (named := targets[0]).place is None:
        finding = _attempt(named, timeout, certificate)
        tried = [(named.endpoint, finding)] if finding else []
        found: Target | None = None if finding else named
    else:
        known = {target.place: target for target in targets if target.place}
        place, findings = search(list(known), lambda place: _attempt(known[place], timeout))
        tried = [(known[place].endpoint, finding) for place, finding in findings]
        found = known[place] if place else None
    if found:
        return found, None
    failure = NotRunningError(tried)
    if tried[-1][1].is_passing:
        return targets[0], failure
    raise failure


def check(target: Target) -> None:
    """Raises `NotRunningError` if a default place is no longer trusted."""
    finding = walk(target.place, os.geteuid()) if target.place else None
    if finding and finding.kind == "untrusted":
        raise NotRunningError([(target.endpoint, finding)])


def wait(targets: Sequence[Target], waits: Waiting, certificate: str | None = None) -> Target:
    """Runs the steps of `waiting` until it ends. Returns the target that works."""
    found, failure = targets[0], None
    while True:
        try:
            wanted = waits.send(failure)
        except StopIteration:
            return found
        failure = None
        if isinstance(wanted, Look):
            found, failure = look(targets, wanted.timeout, certificate)
        else:
            time.sleep(wanted.seconds)


def _attempt(target: Target, timeout: float, certificate: str | None = None) -> Finding | None:
    endpoint, place = target.endpoint, target.place
    if len(os.fsencode(endpoint.path)) > MAX_PATH_BYTES:
        return TOO_LONG
    finding = walk(place, os.geteuid()) if place else None
    if finding is None:
        try:
            with _connect(endpoint, timeout) as connection:
                if certificate:
                    _handshake(connection, certificate)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # Closed in the handshake: perhaps by a relay whose broker is away.
            return CLOSED
        except ssl.SSLError:
            return OTHER_PROGRAM
        except OSError as error:
            return of_error(error, endpoint.path or None)
    return finding


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


def _handshake(connection: socket.socket, certificate: str) -> None:
    """Makes the handshake of TLS, as gRPC does it; raises `ssl.SSLError` if the other side is not the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    with context.wrap_socket(connection, server_hostname="localhost"):
        pass
