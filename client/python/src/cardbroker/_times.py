"""How long things may take: waits, deadlines and pauses, in seconds. No clock."""

from __future__ import annotations

import random

DEFAULT_WAIT = 30.0

CARD_TIME = 150.0
"""What the card may take in all when the user names no deadline: above the broker's exchange timeout of 120 s."""

MAX_DEADLINE = 48 * 3600.0
"""The longest deadline; the contract allows waits of 24 h."""


def times(wait: float | None, deadline: float | None) -> tuple[float, float]:
    """Which deadline the call gets, and how long the request may wait for its turn below it; seconds."""
    wait = min(DEFAULT_WAIT if wait is None else wait, MAX_DEADLINE)
    if deadline is None:
        # A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
        deadline = wait + max(CARD_TIME, wait / 8)
    deadline = min(deadline, MAX_DEADLINE)
    # Room for "not sent" to come back before gRPC ends the call by itself.
    margin = max(0.05, deadline / 10)
    return deadline, max(min(wait, deadline - margin), 0.0)


def jittered(pause: float) -> float:
    """Half fixed and half random, so that many clients do not come back at the same moment."""
    return pause * (0.5 + random.random() / 2)
