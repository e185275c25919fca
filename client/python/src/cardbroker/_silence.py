"""Alarms for silent streams: one thread serves all alarms, so that no message costs a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Callable

from cardbroker import _process


class Alarm:
    """Calls `ring` once when it was set and not renewed for `limit` seconds."""

    def __init__(self, ring: Callable[[], object], limit: float) -> None:
        self._ring = ring
        self._limit = limit
        self._due = 0.0
        self.has_rung = False
        """Whether the time has run out."""

    def set(self) -> None:
        """Starts the alarm, or starts it again."""
        self._due = time.monotonic() + self._limit
        _clock.add(self, self._due)

    def renew(self) -> None:
        """Starts the time of a set alarm again."""
        self._due = time.monotonic() + self._limit

    def stop(self) -> None:
        """Stops the alarm; `set` starts it again."""
        _clock.remove(self)

    def rest(self, now: float) -> float:
        """The seconds until the alarm rings."""
        return self._due - now

    def ring(self) -> None:
        """Marks the alarm as rung and calls `ring`."""
        self.has_rung = True
        self._ring()


class _Clock:
    """The set alarms, and the thread that waits for the earliest one; it ends some time after the last alarm."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: set[Alarm] = set()
        self._wakes_at: float | None = None
        """The thread's next wake-up; `None` without a thread."""

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
        """Drops the thread and the alarms, which belong to the parent."""
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
                    # The thread stays until its next wake-up, so that a watch does not start a thread for each message.
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
