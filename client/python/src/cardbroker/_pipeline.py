"""Which messages of a session wait for their answer, and which one restarts it after a failure: no I/O.

A failure is noticed late: messages that were sent before are answered PRECEDING_FAILED by the broker. Only a message of
somebody who knew of every failure may say `restart`, for only that one was decided on in their light.
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
    """The messages without an answer, each with who waits for it."""

    def __init__(self) -> None:
        self._last_id = 0
        self._unanswered: deque[_Message[Waiter]] = deque()
        self._failure_count = 0
        self._restarted_count = 0
        """How many failures had been restarted from with the latest message."""

    def __len__(self) -> int:
        return len(self._unanswered)

    def send(self, known_failure_count: int, waiter: Waiter, restart: bool | None = None) -> tuple[int, bool]:
        """Adds a message of somebody who knew of so many failures; its id, and whether it says `restart`.

        Unless that is `None` it says so, or does not, because its sender wants it.
        """
        self._last_id += 1
        if restart is None:
            restart = self._restarted_count < self._failure_count == known_failure_count
        if restart:
            self._restarted_count = self._failure_count
        self._unanswered.append(_Message(self._last_id, self._restarted_count, waiter))
        return self._last_id, restart

    def answer(self, message_id: int, reason: str | None) -> tuple[Waiter, int] | None:
        """Takes out the message that an answer, or a failure for that reason, belongs to.

        Returns who waits for it, and the count of failures that it makes known; `None` if it was not its turn.
        """
        if not self._unanswered or self._unanswered[0].id != message_id:
            return None
        message = self._unanswered.popleft()
        unexplained = message.restarted_count == self._failure_count
        if reason is not None and (reason != "PRECEDING_FAILED" or unexplained):
            self._failure_count += 1
        return message.waiter, self._failure_count

    def drain(self) -> list[tuple[int, Waiter]]:
        """Takes out all messages, because no answer will come any more: the id of each, and who waits for it."""
        waiters = [(message.id, message.waiter) for message in self._unanswered]
        self._unanswered.clear()
        return waiters
