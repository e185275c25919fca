"""What becomes of this client in a forked child, and when the program ends.

gRPC does not survive a fork: its threads are gone, its locks may be held, and its poller is shared with the parent. A
child never touches what the parent's gRPC has made. What belongs to the parent says so, a client makes a connection of
its own when it is used (see `_relay`), and the parent's sockets are let go: the broker must see the parent's death.

When a program ends, gRPC's threads stop where they are, perhaps with a lock that the end of a stream waits for. Streams
that are still open are cancelled before.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import ipaddress
import os
import socket
import stat
import weakref
from pathlib import Path
from typing import Protocol

from cardbroker._endpoint import Endpoint
from cardbroker._errors import FailedError, Failure


class Inherited(Protocol):
    """Something that a child inherits and must not use as it is."""

    def on_fork(self) -> None:
        """Is called in the child, with no other thread there: forgets what is the parent's, and renews locks."""


class Stream(Protocol):
    """A stream under way."""

    def is_active(self) -> bool:
        """Whether it has not ended."""

    def cancel(self) -> object:
        """Ends it at once."""


_FORK_VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"

_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_streams: weakref.WeakSet[Stream] = weakref.WeakSet()
_endpoints: set[Endpoint] = set()
_is_child = False


def is_child() -> bool:
    """Whether this process was forked from one that had used gRPC through this client."""
    return _is_child


def on_connect(endpoint: Endpoint) -> None:
    """Is told of each endpoint that gRPC is asked to connect to in this process."""
    _endpoints.add(endpoint)


def register(inherited: Inherited) -> None:
    """Has something told, for as long as it lives, when it finds itself in a child."""
    _inherited.add(inherited)


def on_stream(stream: Stream) -> None:
    """Is told of each stream of the client without asyncio."""
    _streams.add(stream)


def keep(owned: object) -> None:
    """Keeps an object of gRPC from being destroyed in this process, even when it ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owned))


def belongs_to_parent(what: str) -> FailedError:
    """The error for the use of something that only the parent can use."""
    message = f"this {what} belongs to the process that this one was forked from: open one here"
    return FailedError(Failure(message, delivery="NOT_SENT", code="FAILED_PRECONDITION"))


def no_asyncio() -> FailedError:
    """The error for the use of asyncio's client in a child."""
    message = (
        "cardbroker.aio cannot be used in a process that was forked from one that had used it: use cardbroker.connect "
        'here, or start the process anew (multiprocessing\'s "spawn")'
    )
    return FailedError(Failure(message, delivery="NOT_SENT", code="FAILED_PRECONDITION"))


def _in_child() -> None:
    global _is_child
    if not _endpoints:
        return
    _is_child = True
    # What of gRPC's waits to be collected must not be destroyed here.
    gc.freeze()
    _streams.clear()
    for each in list(_inherited):
        each.on_fork()
    _let_go(_endpoints)


def _let_go(endpoints: set[Endpoint]) -> None:
    """Puts nothing in the place of each socket that is connected to one of the endpoints."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in list(Path("/dev/fd").iterdir()):
        with contextlib.suppress(OSError):
            descriptor = int(name.name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                peer = connection.getpeername()
            if any(_is_at(endpoint, peer) for endpoint in endpoints):
                os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _is_at(endpoint: Endpoint, peer: object) -> bool:
    """Whether a socket with this peer is connected to the endpoint: another host may have the broker's port open."""
    if endpoint.is_unix:
        return peer == endpoint.path
    if not isinstance(peer, tuple) or peer[1] != endpoint.port:
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    host = endpoint.host.strip("[]")
    return address.is_loopback if host == "localhost" else address == ipaddress.ip_address(host)


def _begin_grpc() -> None:
    """Has gRPC begin without its handlers for forks, unless the user wants them.

    They start its threads anew in each child, which crashes many children of programs that use asyncio. gRPC looks into
    the environment once, when it is imported.
    """
    if _FORK_VARIABLE in os.environ:
        return
    os.environ[_FORK_VARIABLE] = "0"
    try:
        importlib.import_module("grpc")
    finally:
        del os.environ[_FORK_VARIABLE]


_begin_grpc()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@atexit.register
def _at_exit() -> None:
    for stream in list(_streams):
        # One that has ended is an error, too, and keeps alive what its traceback leads to.
        if stream.is_active():
            keep(stream)
            stream.cancel()
