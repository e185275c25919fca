"""What a watch knows: the readers, what to tell of them, and when to try again. No I/O; the shells own the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from cardbroker._errors import CardbrokerError, is_word, of_query
from cardbroker._patience import ASK_AGAIN
from cardbroker._reader import Reader, reader
from cardbroker._times import jittered
from cardbroker.v1 import reader_pb2

SILENCE_LIMIT = 90.0
"""Three heartbeat intervals of the broker's default, in seconds."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Connected:
    """The broker tells the state of its readers, for the first time or again; what differs from before follows."""


@dataclass(frozen=True)
class Disconnected:
    """The connection was lost, or could not be made at the first attempt. The watch keeps trying by itself."""

    error: CardbrokerError
    """Why. If it `is_permanent` there is little hope."""


@dataclass(frozen=True)
class Updated:
    """A reader is new or has changed."""

    reader: Reader
    """Its latest state."""


@dataclass(frozen=True)
class Removed:
    """A reader is gone."""

    reader: Reader
    """Its last state."""


WatchEvent = Union[Connected, Disconnected, Updated, Removed]
"""One thing that happened."""


class Watching:
    """The state of a watch through losses of its connection."""

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        """Takes how long the first loss may be kept from the user, in seconds: the broker may still be starting."""
        self._clock = clock
        self._patient_until = clock() + patience
        self.readers: dict[str, Reader] = {}
        """By name, as last told by the broker."""
        self.connected: bool | None = None
        """`None` before the first attempt has ended."""
        self.pending: deque[WatchEvent] = deque()
        """What one message brought and was not told yet: at most one entry for each reader, and one more."""
        self._resume_token = ""
        self._pause = _FIRST_PAUSE

    def request(self) -> reader_pb2.WatchReadersRequest:
        """What to open the stream with."""
        return reader_pb2.WatchReadersRequest(resume_token=self._resume_token)

    def take(self, message: reader_pb2.WatchReadersResponse) -> None:
        """Takes in a message of the broker."""
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
        """The stream is over. Returns how long to pause before the next attempt, in seconds."""
        may_come = self.connected is None and not error.is_permanent and not is_word(error)
        if may_come and self._clock() + ASK_AGAIN < self._patient_until:
            return ASK_AGAIN
        if self.connected is not False:
            self.connected = False
            self.pending.append(Disconnected(of_query(error)))
        pause = jittered(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause

    def _change(self, updated: Iterable[reader_pb2.Reader], removed: Iterable[str]) -> None:
        """Tells only what differs: after a loss of the connection a snapshot repeats what was known."""
        gone = (self.readers.pop(name, None) for name in list(removed))
        self.pending.extend(Removed(last) for last in gone if last)
        for latest in map(reader, updated):
            if self.readers.get(latest.name) != latest:
                self.readers[latest.name] = latest
                self.pending.append(Updated(latest))
