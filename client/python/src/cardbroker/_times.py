"""How long things may take: waits, deadlines and pauses, in seconds. No clock."""

from __future__ import annotations

import random
from datetime import datetime, timezone

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

DEFAULT_WAIT = 30.0
"""How long the broker lets a request wait that says nothing about it."""

CARD_TIME = 150.0
"""What the card may take in all when the user names no deadline: above the broker's exchange timeout of 120 s."""

MAX_WAIT = 24 * 3600.0
"""The longest wait of the contract."""

MAX_DEADLINE = 48 * 3600.0
"""The longest deadline."""


def deadline_of(wait: float | None, deadline: float | None) -> float:
    """Which deadline a call gets that may wait so long; the broker lets the waiting end a little before it."""
    if deadline is None:
        wait = min(DEFAULT_WAIT if wait is None else wait, MAX_WAIT)
        # A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
        deadline = wait + max(CARD_TIME, wait / 8)
    return min(deadline, MAX_DEADLINE)


def jittered(pause: float) -> float:
    """Half fixed and half random, so that many clients do not come back at the same moment."""
    return pause * (0.5 + random.random() / 2)


def duration(seconds: float) -> Duration:
    """Seconds as they go to the broker."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def optional_duration(seconds: float | None) -> Duration | None:
    """The same, absent where there is none."""
    return None if seconds is None else duration(seconds)


def seconds(message: Duration) -> float:
    """Seconds as they come from the broker."""
    return message.seconds + message.nanos / 1e9


def moment(message: Timestamp) -> datetime | None:
    """A time as it comes from the broker, in UTC; `None` if it is beyond what Python can say."""
    try:
        return message.ToDatetime(timezone.utc)
    except (ValueError, OverflowError):
        return None
