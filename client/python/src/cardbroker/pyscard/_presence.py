"""The present cards: one thread follows them, any number of threads may wait for a change."""

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
    """Drops the parent's thread in a forked child."""

    def on_fork(self) -> None:
        global _lock, _current
        _lock = threading.Lock()
        if _current:
            _process.keep(_current)
        _current = None


_renewed = _Renewed()
_process.register(_renewed)


def presence() -> Presence:
    """The presence for the adapter's client; its thread starts with the first call."""
    global _current
    mine = client()
    with _lock:
        if _current is None or _current[0] is not mine:
            _current = (mine, Presence(mine))
        return _current[1]


class Presence:
    """The readers with a card, by display name."""

    def __init__(self, client: Client) -> None:
        self._changed = threading.Condition()
        self._cards: dict[str, Reader] | None = None
        """`None` before the first report of the broker."""
        follow = threading.Thread(target=self._follow, args=(client,), name="cardbroker-presence", daemon=True)
        follow.start()

    def wait_for(self, wanted: Callable[[Mapping[str, Reader]], _T | None], timeout: float | None) -> _T | None:
        """Waits until `wanted` returns a value for the cards; `None` after `timeout` seconds."""
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
            # One message may bring several events; `readers` already contains all of them.
            cards = {
                reader.display_name: reader
                for reader in watch.readers.values()
                if reader.insertion_id and reader.state in _USABLE
            }
            with self._changed:
                # The cards are unknown before the first message.
                if watch.is_connected or self._cards is not None:
                    self._cards = cards
                self._changed.notify_all()
