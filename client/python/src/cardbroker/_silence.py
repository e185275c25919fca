"""Streams that have fallen silent: one thread ends them all, so that no message costs a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Callable

from cardbroker import _process


class Alarm:
    """Calls `ring` once if it is set and not renewed for so long."""

    def __init__(self, ring: Callable[[], object], limit: float) -> None:
        self._ring = ring
        self._limit = limit
        self._due = 0.0
        self.has_rung = False
        """Whether it was that silent."""

    def set(self) -> None:
        """Starts the time, or starts it again."""
        self._due = time.monotonic() + self._limit
        _clock.add(self, self._due)

    def renew(self) -> None:
        """Starts the time of an alarm that is set again."""
        self._due = time.monotonic() + self._limit

    def stop(self) -> None:
        """Is set no longer."""
        _clock.remove(self)

    def rest(self, now: float) -> float:
        """Seconds until it rings."""
        return self._due - now

    def ring(self) -> None:
        """The time is over."""
        self.has_rung = True
        self._ring()


class _Clock:
    """The alarms that are set, and the thread that waits for the earliest one; it ends when there is none for long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: set[Alarm] = set()
        self._wakes_at: float | None = None
        """When the thread looks again; `None` if there is no thread."""

    def add(self, alarm: Alarm, due: float) -> None:
        with self._changed:
            self._alarms.add(alarm)
            if self._wakes_at is None:
                self._wakes_at = due
                threading.Thread(target=self._run, name="cardbroker-silence", daemon=True).start()
            elif due < self._wakes_at:
                self._changed.notify()

    def remove(self, alarm: Alarm) -> None:
        with self._changed:
            self._alarms.discard(alarm)

    def on_fork(self) -> None:
        """The thread and the streams are the parent's."""
        self._changed = threading.Condition()
        self._alarms = set()
        self._wakes_at = None

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = {alarm for alarm in self._alarms if alarm.rest(now) <= 0}
                self._alarms -= due
                if not due:
                    # One look after the last alarm is gone, so that a watch does not start a thread for each message.
                    if not self._alarms and self._wakes_at is not None and self._wakes_at <= now:
                        self._wakes_at = None
                        return
                    if self._alarms:
                        self._wakes_at = now + min(alarm.rest(now) for alarm in self._alarms)
                    self._changed.wait((self._wakes_at or now) - now)
                    continue
            for alarm in due:
                alarm.ring()


_clock = _Clock()
_process.register(_clock)
