"""The watch of all readers, which reconnects after a loss."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Protocol

import grpc

from cardbroker import _process
from cardbroker._channel import Line, Wire
from cardbroker._errors import CardbrokerError, lost
from cardbroker._reader import Reader
from cardbroker._rpc import of_rpc_error
from cardbroker._settings import Settings
from cardbroker._silence import Alarm
from cardbroker._watching import SILENCE_LIMIT, WatchEvent, Watching
from cardbroker.v1 import reader_pb2


class _Call(Protocol):
    """The stream of grpcio; `None` between two attempts."""

    def __next__(self) -> reader_pb2.WatchReadersResponse: ...

    def cancel(self) -> bool: ...


class Watch(Iterator[WatchEvent]):
    """Follows all readers; an endless iterator of events, made by `Client.watch`.

    `Connected` or `Disconnected` comes first, then every change. Heartbeats are no events; 90 s of silence count as a
    lost connection. The pauses between attempts to connect grow from 0.1 s to 5 s. For one thread, but every thread may
    `close`. In a forked child the watch continues with a stream of the child's own.
    """

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self._wire = wire
        self._watching = Watching(settings.connect_timeout, time.monotonic)
        self._call: _Call | None = None
        self._pause = 0.0
        self._closed = threading.Event()
        _process.register(self)
        # Opens the stream now, so that no change before the first `next` is missed.
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
        """Ends the iteration, also while another thread waits in it."""
        self._closed.set()
        if call := self._call:
            call.cancel()

    def on_fork(self) -> None:
        """Leaves the stream to the parent."""
        if self._call:
            _process.keep(self._call)
        was_closed, self._closed = self._closed.is_set(), threading.Event()
        if was_closed:
            self._closed.set()
        self._call = None

    def __next__(self) -> WatchEvent:
        while not self._closed.is_set():
            if self._watching.pending:
                return self._watching.pending.popleft()
            try:
                self._watching.take(self._message())
            except CardbrokerError as error:
                self._call = None
                self._pause = self._watching.lost(error)
        raise StopIteration

    def _message(self) -> reader_pb2.WatchReadersResponse:
        call = self._call or self._reopen()
        # Ends the stream of a silent broker; a deadline would also end the stream of a live one.
        alarm = Alarm(call.cancel, SILENCE_LIMIT)
        alarm.set()
        try:
            return next(call)
        except StopIteration:
            raise lost("the broker ended the watch") from None
        except grpc.RpcError as error:
            raise (lost("the broker fell silent") if alarm.has_rung else of_rpc_error(error)) from error
        finally:
            alarm.stop()

    def _reopen(self) -> _Call:
        self._closed.wait(self._pause)
        return self._open(self._wire.reach(0))

    def _open(self, line: Line) -> _Call:
        call = line.stub.WatchReaders(self._watching.request(), metadata=line.metadata)
        self._call = call
        _process.on_stream(call)
        if self._closed.is_set():
            call.cancel()
        return call

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
