"""The unanswered messages of a session, and the decision which message restarts it after a failure. No I/O.

A failure arrives late: the broker answers the messages sent before its arrival with PRECEDING_FAILED. Only a message of
a caller that knew of every failure may set `restart`, because only that caller took the failures into account.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


@dataclass
class _Message(Generic[Waiter]):
    id: int
    restarted_count: int
    waiter: Waiter


class Pipeline(Generic[Waiter]):
    """The messages without an answer, each with its waiter."""

    def __init__(self) -> None:
        self._last_id = 0
        self._unanswered: deque[_Message[Waiter]] = deque()
        self._failure_count = 0
        self._restarted_count = 0
        """The failure count at the latest message with `restart`."""

    def __len__(self) -> int:
        return len(self._unanswered)

    def send(self, known_failure_count: int, waiter: Waiter, restart: bool | None = None) -> tuple[int, bool]:
        """Adds a message of a caller that knew of `known_failure_count` failures; returns its id and its `restart`.

        `restart` is the sender's own choice; with `None` the pipeline decides.
        """
        self._last_id += 1
        if restart is None:
            restart = self._restarted_count < self._failure_count == known_failure_count
        if restart:
            self._restarted_count = self._failure_count
        self._unanswered.append(_Message(self._last_id, self._restarted_count, waiter))
        return self._last_id, restart

    def answer(self, message_id: int, reason: str | None) -> tuple[Waiter, int] | None:
        """Removes the oldest message, which an answer, or a failure for this reason, must belong to.

        Returns its waiter and the failure count so far; `None` if the answer belongs to another message.
        """
        if not self._unanswered or self._unanswered[0].id != message_id:
            return None
        message = self._unanswered.popleft()
        unexplained = message.restarted_count == self._failure_count
        if reason is not None and (reason != "PRECEDING_FAILED" or unexplained):
            self._failure_count += 1
        return message.waiter, self._failure_count

    def drain(self) -> list[tuple[int, Waiter]]:
        """Removes all messages after the end of the stream; returns the id and the waiter of each."""
        waiters = [(message.id, message.waiter) for message in self._unanswered]
        self._unanswered.clear()
        return waiters
