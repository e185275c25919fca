"""Which cards are there: followed by one thread, awaited by any number of others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from cardbroker import _process
from cardbroker._client import Client
from cardbroker._reader import Reader
from cardbroker.pyscard._broker import client

_T = TypeVar("_T")

_USABLE = ("READY", "MUTE", "HELD_ELSEWHERE", "UNRESPONSIVE")

_lock = threading.Lock()
_current: tuple[Client, Presence] | None = None


class _Renewed:
    """Forgets, in a forked child, the thread that only the parent has."""

    def on_fork(self) -> None:
        global _lock, _current
        _lock = threading.Lock()
        if _current:
            _process.keep(_current)
        _current = None


_renewed = _Renewed()
_process.register(_renewed)


def presence() -> Presence:
    """The one that goes with the client; its thread starts with the first call."""
    global _current
    mine = client()
    with _lock:
        if _current is None or _current[0] is not mine:
            _current = (mine, Presence(mine))
        return _current[1]


class Presence:
    """The readers that have a card, by the name for people."""

    def __init__(self, client: Client) -> None:
        self._changed = threading.Condition()
        self._cards: dict[str, Reader] | None = None
        """`None` before the broker has told."""
        follow = threading.Thread(target=self._follow, args=(client,), name="cardbroker-presence", daemon=True)
        follow.start()

    def wait_for(self, wanted: Callable[[Mapping[str, Reader]], _T | None], timeout: float | None) -> _T | None:
        """What `wanted` makes of the cards, as soon as that is not `None`; `None` when the time (seconds) is over."""
        found: _T | None = None

        def look() -> bool:
            nonlocal found
            found = None if self._cards is None else wanted(self._cards)
            return found is not None

        with self._changed:
            self._changed.wait_for(look, timeout)
            return found

    def _follow(self, client: Client) -> None:
        watch = client.watch()
        for _ in watch:
            # One message may bring several changes; what is known is up to date with all of them.
            cards = {
                reader.display_name: reader
                for reader in watch.readers.values()
                if reader.insertion_id and reader.state in _USABLE
            }
            with self._changed:
                # Before the first message nobody knows.
                if watch.is_connected or self._cards is not None:
                    self._cards = cards
                self._changed.notify_all()
