"""The connection of a client for asyncio. A child that inherits it is told that it cannot use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from cardbroker import _channel, _process
from cardbroker._endpoint import Settings
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

if TYPE_CHECKING:
    from cardbroker.v1.service_pb2_grpc import CardBrokerServiceAsyncStub


class Wire:
    """The connection of a client, for the process that made it."""

    def __init__(self, settings: Settings) -> None:
        if _process.is_child():
            raise _process.no_asyncio()
        endpoint = settings.endpoint
        options = _channel.options(endpoint, settings.connect_timeout)
        _process.on_connect(endpoint)
        self._channel = grpc.aio.insecure_channel(endpoint.target, options)
        self._stub: Any = CardBrokerServiceStub(self._channel)
        self._is_parents = False
        _process.register(self)

    @property
    def stub(self) -> CardBrokerServiceAsyncStub:
        """The calls; raises in a child."""
        if self._is_parents:
            raise _process.no_asyncio()
        stub: CardBrokerServiceAsyncStub = self._stub
        return stub

    async def close(self) -> None:
        """Closes the connection, unless it is the parent's."""
        if not self._is_parents:
            await self._channel.close()

    def on_fork(self) -> None:
        """Leaves the connection to the parent."""
        _process.keep(self._channel)
        _process.keep(self._stub)
        self._is_parents = True
