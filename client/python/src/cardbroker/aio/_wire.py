"""The connection of a client for asyncio. Its use in a forked child raises an error."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc

from cardbroker import _channel, _process
from cardbroker._endpoint import Settings, Target
from cardbroker._waiting import Look, Waiting, waiting
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

if TYPE_CHECKING:
    from cardbroker.v1.service_pb2_grpc import CardBrokerServiceAsyncStub


class Wire:
    """The connection of a client, only for the process that made it."""

    def __init__(self, settings: Settings) -> None:
        if _process.is_child():
            raise _process.no_asyncio()
        endpoint = settings.endpoint
        options = _channel.options(endpoint, settings.connect_timeout)
        _process.on_connect(endpoint)
        certificate = settings.certificate
        if certificate:
            root = _channel.credentials(certificate)
            self._channel = grpc.aio.secure_channel(endpoint.target, root, options)
        else:
            self._channel = grpc.aio.insecure_channel(endpoint.target, options)
        self._stub: Any = CardBrokerServiceStub(self._channel)
        self._settings = settings
        self.is_closed = False
        """Whether this program has closed the connection."""
        self._is_parents = False
        _process.register(self)

    @property
    def stub(self) -> CardBrokerServiceAsyncStub:
        """The stub for calls; raises in a forked child."""
        if self._is_parents:
            raise _process.no_asyncio()
        stub: CardBrokerServiceAsyncStub = self._stub
        return stub

    def is_connected(self) -> bool:
        """Whether there is a connection; otherwise gRPC has now begun to connect. Raises after `close`."""
        assert self.stub
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def reach(self, timeout: float, end: float = math.inf) -> None:
        """Waits for a connection before a call; raises `NotRunningError` if the wait ends without one."""
        settings = self._settings
        _channel.check(settings.target)
        if not self.is_connected():
            waits = waiting(settings.endpoint, timeout, time.monotonic, self.is_connected, end)
            await wait(settings.targets, waits, settings.certificate)

    async def close(self) -> None:
        """Closes the connection, unless it belongs to the parent."""
        self.is_closed = True
        if not self._is_parents:
            await self._channel.close()

    def on_fork(self) -> None:
        """Leaves the connection to the parent."""
        _process.keep(self._channel)
        _process.keep(self._stub)
        self._is_parents = True


async def wait(targets: Sequence[Target], waits: Waiting, certificate: str | None = None) -> Target:
    """Runs the steps of `waiting` until it ends. Returns the target that works."""
    found, failure = targets[0], None
    while True:
        try:
            wanted = waits.send(failure)
        except StopIteration:
            return found
        failure = None
        if isinstance(wanted, Look):
            found, failure = await asyncio.to_thread(_channel.look, targets, wanted.timeout, certificate)
        else:
            await asyncio.sleep(wanted.seconds)
