"""The state of a watch: the readers, its pending events and its pauses. No I/O; the shells own the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from cardbroker._errors import CardbrokerError, is_reported, of_query
from cardbroker._reader import Reader, reader
from cardbroker._times import jittered
from cardbroker._waiting import ASK_AGAIN
from cardbroker.v1 import reader_pb2

SILENCE_LIMIT = 90.0
"""The longest silence of a live broker: three default heartbeat intervals, in seconds."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Connected:
    """The broker reports its readers, for the first time or again; events for the differences follow."""


@dataclass(frozen=True)
class Disconnected:
    """The connection was lost, or the first attempt failed. The watch reconnects by itself."""

    error: CardbrokerError
    """The failure; if it `is_permanent`, further attempts are likely to fail too."""


@dataclass(frozen=True)
class Updated:
    """A reader is new or has changed."""

    reader: Reader
    """The latest state of the reader."""


@dataclass(frozen=True)
class Removed:
    """The broker no longer has a reader."""

    reader: Reader
    """The last state of the reader."""


WatchEvent = Union[Connected, Disconnected, Updated, Removed]
"""One event of a watch."""


class Watching:
    """The state of a watch across reconnects."""

    def __init__(self, connect_timeout: float, clock: Callable[[], float]) -> None:
        """`connect_timeout`: seconds without a `Disconnected` at the start, while the broker may still be starting."""
        self._clock = clock
        self._first_wait_end = clock() + connect_timeout
        self.readers: dict[str, Reader] = {}
        """The readers by name, as last reported by the broker."""
        self.connected: bool | None = None
        """`None` before the first attempt has ended."""
        self.pending: deque[WatchEvent] = deque()
        """Events that `next` has not returned yet: at most one for each reader, and one more."""
        self._resume_token = ""
        self._pause = _FIRST_PAUSE

    def request(self) -> reader_pb2.WatchReadersRequest:
        """The request that opens the stream."""
        return reader_pb2.WatchReadersRequest(resume_token=self._resume_token)

    def take(self, message: reader_pb2.WatchReadersResponse) -> None:
        """Processes a message of the broker."""
        self._pause = _FIRST_PAUSE
        self._resume_token = message.resume_token
        if not self.connected:
            self.connected = True
            self.pending.append(Connected())
        if message.HasField("snapshot"):
            named = {update.name for update in message.snapshot.readers}
            self._change(message.snapshot.readers, [name for name in self.readers if name not in named])
        elif message.HasField("change"):
            self._change(message.change.updated, message.change.removed_names)

    def lost(self, error: CardbrokerError) -> float:
        """Processes the end of the stream; returns the pause before the next attempt, in seconds."""
        may_come = self.connected is None and not error.is_permanent and not is_reported(error)
        if may_come and self._clock() + ASK_AGAIN < self._first_wait_end:
            return ASK_AGAIN
        if self.connected is not False:
            self.connected = False
            self.pending.append(Disconnected(of_query(error)))
        pause = jittered(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause

    def _change(self, updated: Iterable[reader_pb2.Reader], removed: Iterable[str]) -> None:
        """Adds events for the differences only: a snapshot after a reconnect repeats known readers."""
        gone = (self.readers.pop(name, None) for name in list(removed))
        self.pending.extend(Removed(last) for last in gone if last)
        for latest in map(reader, updated):
            if self.readers.get(latest.name) != latest:
                self.readers[latest.name] = latest
                self.pending.append(Updated(latest))
