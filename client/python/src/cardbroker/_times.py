"""Waits, deadlines and pauses, in seconds. No clock."""

from __future__ import annotations

import random
from datetime import datetime, timezone

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

DEFAULT_WAIT = 30.0
"""The wait that the broker grants a request without `wait_timeout`, in seconds."""

CARD_TIME = 150.0
"""The time for the card in a call without `deadline`, in seconds: above the broker's exchange timeout of 120 s."""

MAX_WAIT = 24 * 3600.0
"""The longest wait that the contract allows, in seconds."""

MAX_DEADLINE = 48 * 3600.0
"""The longest deadline of a call, in seconds."""


def deadline_of(wait: float | None, deadline: float | None) -> float:
    """The deadline of a call, in seconds, for this wait; the broker ends the wait a little before it."""
    if deadline is None:
        wait = min(DEFAULT_WAIT if wait is None else wait, MAX_WAIT)
        # A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
        deadline = wait + max(CARD_TIME, wait / 8)
    return min(deadline, MAX_DEADLINE)


def jittered(pause: float) -> float:
    """Half of the pause fixed and half random, so that many clients do not return at the same moment."""
    return pause * (0.5 + random.random() / 2)


def duration(seconds: float) -> Duration:
    """Converts seconds to a duration of the contract."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def optional_duration(seconds: float | None) -> Duration | None:
    """Converts seconds to a duration of the contract; `None` stays `None`."""
    return None if seconds is None else duration(seconds)


def seconds(message: Duration) -> float:
    """Converts a duration of the contract to seconds."""
    return message.seconds + message.nanos / 1e9


def moment(message: Timestamp) -> datetime | None:
    """Converts a time of the contract, in UTC; `None` if Python cannot represent it."""
    try:
        return message.ToDatetime(timezone.utc)
    except (ValueError, OverflowError):
        return None
