"""The watch of this program's waiting requests, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import grpc

from cardbroker import _process
from cardbroker._broker import WaitingTurn, waiting_turns
from cardbroker._errors import lost, of_query
from cardbroker._watching import SILENCE_LIMIT
from cardbroker.aio._rpc import of_rpc_error
from cardbroker.aio._wire import Line
from cardbroker.v1 import turn_pb2


class TurnWatch(AsyncIterator["list[WaitingTurn]"]):
    """All waiting requests of this program; see `cardbroker.TurnWatch`. `anext` may be cancelled. For one task."""

    def __init__(self, line: Line, reader: str) -> None:
        request = turn_pb2.WatchTurnRequest(reader=reader)
        self._call: Any = line.stub.WatchTurn(request, metadata=line.metadata)
        self._next: asyncio.Task[turn_pb2.WatchTurnResponse] | None = None
        """The read of the next message; survives the cancellation of its waiter."""
        self._is_closed = False
        self._is_parents = False
        _process.register(self)

    def close(self) -> None:
        """Ends the iteration, also while another task waits in it."""
        self._is_closed = True
        if self._next:
            self._next.cancel()
        if not self._is_parents:
            self._call.cancel()

    def on_fork(self) -> None:
        """Leaves the stream to the parent."""
        _process.keep(self._call)
        self._is_parents = True

    async def __anext__(self) -> list[WaitingTurn]:
        if self._is_parents:
            raise _process.no_asyncio()
        while not self._is_closed:
            if self._next is None:
                self._next = asyncio.create_task(self._message(), name="cardbroker-turns")
            await asyncio.wait({self._next})
            message, self._next = self._next, None
            try:
                waiting = waiting_turns(message.result())
            except asyncio.CancelledError:
                # Cancelled by `close`.
                break
            if waiting is not None:
                return waiting
        raise StopAsyncIteration

    async def _message(self) -> turn_pb2.WatchTurnResponse:
        try:
            message = await asyncio.wait_for(self._call.read(), SILENCE_LIMIT)
        except asyncio.TimeoutError:
            self._call.cancel()
            raise lost("the broker fell silent").not_sent() from None
        except grpc.aio.AioRpcError as error:
            raise of_query(of_rpc_error(error)) from error
        if not isinstance(message, turn_pb2.WatchTurnResponse):
            raise lost("the broker ended the watch").not_sent()
        return message

    async def __aenter__(self) -> TurnWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if (call := getattr(self, "_call", None)) and not self._is_parents:
            call.cancel()
