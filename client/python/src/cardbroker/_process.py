"""The behaviour of this client in a forked child and at the end of the program.

gRPC does not survive a fork: its threads are gone, its locks may be held, and its poller is shared with the parent. A
child never touches gRPC objects of the parent. Sessions of the parent raise an error in the child, a client makes a
connection of its own (see `_relay`), and the child closes its copies of the parent's sockets, so that the broker
notices the parent's end.

At the end of a program gRPC's threads stop at any point, perhaps with a lock that the end of a stream needs. Open
streams are cancelled before that.
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
    """An object that a forked child inherits and must not use unchanged."""

    def on_fork(self) -> None:
        """Drops the parent's objects and renews locks; runs in the child before any other thread exists."""


class Stream(Protocol):
    """A running stream of grpcio."""

    def is_active(self) -> bool:
        """Whether the stream has not ended."""

    def cancel(self) -> object:
        """Ends the stream at once."""


_FORK_VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"

_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_streams: weakref.WeakSet[Stream] = weakref.WeakSet()
_endpoints: set[Endpoint] = set()
_is_child = False


def is_child() -> bool:
    """Whether this process was forked after its parent used gRPC through this client."""
    return _is_child


def on_connect(endpoint: Endpoint) -> None:
    """Records an endpoint to which gRPC connects in this process."""
    _endpoints.add(endpoint)


def register(inherited: Inherited) -> None:
    """Registers an object, as long as it lives, for `on_fork` in a forked child."""
    _inherited.add(inherited)


def on_stream(stream: Stream) -> None:
    """Records a stream of the client without asyncio, to cancel it at exit."""
    _streams.add(stream)


def keep(owned: object) -> None:
    """Prevents the destruction of a gRPC object in this process, even at its end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owned))


def belongs_to_parent(what: str) -> FailedError:
    """The error for the use of an object that belongs to the parent."""
    message = f"this {what} belongs to the parent of this forked process: open a new one here"
    return FailedError(Failure(message, delivery="NOT_SENT", code="FAILED_PRECONDITION"))


def no_asyncio() -> FailedError:
    """The error for the use of `cardbroker.aio` in a forked child."""
    message = (
        "cardbroker.aio cannot be used in a process that was forked after its parent used it: use cardbroker.connect "
        'instead, or start the process with multiprocessing\'s "spawn"'
    )
    return FailedError(Failure(message, delivery="NOT_SENT", code="FAILED_PRECONDITION"))


def _in_child() -> None:
    global _is_child
    if not _endpoints:
        return
    _is_child = True
    # gRPC objects that wait for the garbage collector must not be destroyed here.
    gc.freeze()
    _streams.clear()
    for each in list(_inherited):
        each.on_fork()
    _let_go(_endpoints)


def _let_go(endpoints: set[Endpoint]) -> None:
    """Replaces each socket that is connected to one of the endpoints by /dev/null."""
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
    """Whether a socket with this peer is connected to the endpoint; compares the address too, not only the port."""
    if endpoint.is_unix:
        return peer == endpoint.path
    if not isinstance(peer, tuple) or peer[1] != endpoint.port:
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    host = endpoint.host.strip("[]")
    return address.is_loopback if host == "localhost" else address == ipaddress.ip_address(host)


def _begin_grpc() -> None:
    """Disables gRPC's fork handlers, unless the user has set their variable.

    The handlers restart gRPC's threads in each child, which crashes many children of programs with asyncio. gRPC reads
    the environment once, at its import.
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
        # A stream that has ended is an exception too, and its traceback keeps other objects alive.
        if stream.is_active():
            keep(stream)
            stream.cancel()
