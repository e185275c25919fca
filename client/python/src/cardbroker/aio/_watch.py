"""The watch of all readers for asyncio, which reconnects after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType, TracebackType

import grpc

from cardbroker import _process
from cardbroker._errors import CardbrokerError, lost
from cardbroker._reader import Reader
from cardbroker._settings import Settings
from cardbroker._watching import SILENCE_LIMIT, WatchEvent, Watching
from cardbroker.aio._rpc import of_rpc_error
from cardbroker.aio._wire import Line, Wire
from cardbroker.v1 import reader_pb2

_Call = grpc.aio.UnaryStreamCall["reader_pb2.WatchReadersRequest", "reader_pb2.WatchReadersResponse"]


class Watch(AsyncIterator[WatchEvent]):
    """Follows all readers; an endless iterator of events, made by `Client.watch`. See `cardbroker.Watch`.

    A cancelled `anext` loses no event. For one task.
    """

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self._wire = wire
        self._watching = Watching(settings.connect_timeout, time.monotonic)
        self._pause = 0.0
        self._closed = False
        self._call: _Call | None = None
        self._next: asyncio.Task[reader_pb2.WatchReadersResponse] | None = None
        """The read of the next message; survives the cancellation of its waiter."""
        self._is_parents = False
        _process.register(self)
        # Opens the stream now, so that no change before the first `anext` is missed.
        with contextlib.suppress(CardbrokerError):
            if line := wire.line():
                self._open(line)

    @property
    def readers(self) -> Mapping[str, Reader]:
        """The readers by name, as last reported by the broker; empty before the first `Connected`."""
        return MappingProxyType(self._watching.readers)

    @property
    def is_connected(self) -> bool:
        """Whether the stream is open, so that `readers` is current."""
        return self._watching.connected is True

    def close(self) -> None:
        """Ends the iteration, also while another task waits in it."""
        self._closed = True
        if self._next:
            self._next.cancel()
        if self._call and not self._is_parents:
            self._call.cancel()

    def on_fork(self) -> None:
        """Leaves the stream to the parent."""
        _process.keep(self._call)
        self._is_parents = True

    async def __anext__(self) -> WatchEvent:
        if self._is_parents:
            raise _process.no_asyncio()
        while not self._closed:
            if self._watching.pending:
                return self._watching.pending.popleft()
            if self._next is None:
                self._next = asyncio.create_task(self._message(), name="cardbroker-watch")
            await asyncio.wait({self._next})
            message, self._next = self._next, None
            try:
                self._watching.take(message.result())
            except CardbrokerError as error:
                self._call = None
                self._pause = self._watching.lost(error)
            except asyncio.CancelledError:
                # Cancelled by `close` or by the broken stream.
                self._call = None
        raise StopAsyncIteration

    async def _message(self) -> reader_pb2.WatchReadersResponse:
        call = self._call or await self._reopen()
        try:
            message = await asyncio.wait_for(call.read(), SILENCE_LIMIT)
        except asyncio.TimeoutError:
            raise lost("the broker fell silent") from None
        except grpc.aio.AioRpcError as error:
            raise of_rpc_error(error) from error
        if not isinstance(message, reader_pb2.WatchReadersResponse):
            raise lost("the broker ended the watch")
        return message

    async def _reopen(self) -> _Call:
        await asyncio.sleep(self._pause)
        return self._open(await self._wire.reach(0))

    def _open(self, line: Line) -> _Call:
        call: _Call = line.stub.WatchReaders(self._watching.request(), metadata=line.metadata)
        self._call = call
        return call

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if (call := getattr(self, "_call", None)) and not self._is_parents:
            call.cancel()
