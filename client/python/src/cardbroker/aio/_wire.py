"""The connection of a client for asyncio. Its use in a forked child raises an error."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from cardbroker import _channel, _process
from cardbroker._channel import MAX_OLD
from cardbroker._endpoint import Endpoint
from cardbroker._places import CLOSED
from cardbroker._settings import Route, Settings
from cardbroker._state import FIRST_PAUSE, State, connecting, state_for
from cardbroker._waiting import NO_ANSWER, SHORTEST_ATTEMPT, Attempt, NotRunningError, waiting
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

if TYPE_CHECKING:
    from cardbroker.v1.service_pb2_grpc import CardBrokerServiceAsyncStub


@dataclass(frozen=True, repr=False)
class Line:
    """A connection as one call uses it."""

    stub: CardBrokerServiceAsyncStub
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, repr=False)
class _Connection:
    """A channel that has connected once."""

    route: Route
    channel: grpc.aio.Channel
    stub: Any


class Wire:
    """The connection of a client, only for the process that made it."""

    def __init__(self, settings: Settings) -> None:
        if _process.is_child():
            raise _process.no_asyncio()
        self._settings = settings
        self._targets = settings.targets
        """The named endpoint, or the default ones; after the first connection the one that has worked."""
        self._connecting = asyncio.Lock()
        """Held by the task that connects."""
        self._connection: _Connection | None = None
        self._old: deque[_Connection] = deque()
        self.is_closed = False
        """Whether this program has closed the connection."""
        self._is_parents = False
        _process.register(self)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the broker, as far as it is known."""
        return self._targets[0].endpoint

    def line(self) -> Line | None:
        """The line for a call on the present connection; `None` if there is none.

        Raises after `close`, and in a forked child.
        """
        if self._is_parents:
            raise _process.no_asyncio()
        if self.is_closed:
            raise _channel.closed()
        connection = self._connection
        if connection is None or _state(connection.channel) is not State.READY:
            return None
        _channel.check(self._targets[0])
        return Line(connection.stub, self._settings.metadata(connection.route))

    async def reach(self, timeout: float, end: float = math.inf) -> Line:
        """The line for a call; waits for a connection. Raises `NotRunningError` if the wait ends without one."""
        if line := self.line():
            return line
        latest = min(time.monotonic() + max(timeout, SHORTEST_ATTEMPT), end) - time.monotonic()
        try:
            await asyncio.wait_for(self._connecting.acquire(), max(latest, FIRST_PAUSE))
        except asyncio.TimeoutError:
            raise NotRunningError([(self.endpoint, NO_ANSWER)]) from None
        try:
            # Another task may have connected meanwhile.
            if line := self.line():
                return line
            await self._connect(timeout, end)
            if line := self.line():
                return line
            raise NotRunningError([(self.endpoint, CLOSED)])
        finally:
            self._connecting.release()

    async def close(self) -> None:
        """Closes the connection, unless it belongs to the parent."""
        self.is_closed = True
        if not self._is_parents:
            for connection in (*self._old, self._connection):
                if connection:
                    await connection.channel.close()

    def on_fork(self) -> None:
        """Leaves the connections to the parent."""
        for connection in (*self._old, self._connection):
            if connection:
                _process.keep(connection.channel)
                _process.keep(connection.stub)
        self._is_parents = True

    async def _connect(self, timeout: float, end: float) -> None:
        waits, failure = waiting(timeout, time.monotonic, end), None
        while True:
            try:
                wanted = waits.send(failure)
            except StopIteration:
                return
            failure = None
            if isinstance(wanted, Attempt):
                failure = await self._attempt(wanted.end)
            else:
                await asyncio.sleep(wanted.seconds)

    async def _attempt(self, end: float) -> NotRunningError | None:
        looked = await asyncio.to_thread(_channel.look, self._settings, self._targets, end)
        if isinstance(looked, NotRunningError):
            return looked
        target, route = looked
        channel = self._open(route)
        try:
            is_ready = await _becomes_ready(channel, end)
        except asyncio.CancelledError:
            await channel.close()
            raise
        if self.is_closed or not is_ready:
            await channel.close()
            if self.is_closed:
                raise _channel.closed()
            return NotRunningError([(target.endpoint, NO_ANSWER)])
        if self._connection:
            self._old.append(self._connection)
        self._connection = _Connection(route, channel, CardBrokerServiceStub(channel))
        self._targets = (target,)
        if len(self._old) > MAX_OLD:
            await self._old.popleft().channel.close()
        return None

    def _open(self, route: Route) -> grpc.aio.Channel:
        endpoint = route.endpoint
        options = _channel.options(endpoint, self._settings.connect_timeout)
        _process.on_connect(endpoint)
        if route.certificate:
            return grpc.aio.secure_channel(endpoint.target, _channel.credentials(route.certificate), options)
        return grpc.aio.insecure_channel(endpoint.target, options)


async def _becomes_ready(channel: grpc.aio.Channel, end: float) -> bool:
    for pause in connecting(lambda begin: _state(channel, begin=begin), time.monotonic, end):
        await asyncio.sleep(pause)
    return _state(channel) is State.READY


def _state(channel: grpc.aio.Channel, *, begin: bool = False) -> State:
    return state_for(channel.get_state(try_to_connect=begin))
