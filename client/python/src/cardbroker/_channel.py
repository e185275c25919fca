"""How gRPC is told to reach the broker, and the first look whether anybody is there."""

from __future__ import annotations

import contextlib
import os
import socket

from cardbroker._endpoint import Endpoint
from cardbroker._errors import NotRunningError

QUERY_TIMEOUT = 10.0
"""A list of readers is made from memory: longer means that the broker is stuck. Seconds."""


def options(endpoint: Endpoint, connect_timeout: float) -> list[tuple[str, str | int]]:
    """The channel's options."""
    chosen: list[tuple[str, str | int]] = [
        # The connection is the broker's caller: clients do not share one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # The limit of one attempt to connect, in spite of its name, and how soon the next one follows.
        ("grpc.min_reconnect_backoff_ms", max(int(connect_timeout * 1000), 1)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]
    if endpoint.is_unix:
        # By default it is the socket's path, which HTTP/2 refuses.
        chosen.append(("grpc.default_authority", "localhost"))
    return chosen


def probe(endpoint: Endpoint, timeout: float) -> None:
    """Connects once and lets go; raises `NotRunningError` with what the operating system says."""
    try:
        with contextlib.closing(_connect(endpoint, timeout)):
            pass
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "no answer in time"
        raise NotRunningError(endpoint, why) from None


def _connect(endpoint: Endpoint, timeout: float) -> socket.socket:
    if not endpoint.is_unix:
        return socket.create_connection((endpoint.host.strip("[]"), endpoint.port), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(endpoint.path)
    except OSError:
        connection.close()
        raise
    return connection
