"""Waiting for a broker that is away: one loop for every operation, with and without asyncio. No I/O.

A call begins only on a connection. Without one nothing was sent, whatever the text of a status is.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Callable, Optional, Union

from cardbroker._endpoint import Endpoint
from cardbroker._errors import CardbrokerError, Failure
from cardbroker._places import Finding

ASK_AGAIN = 0.1
"""The pause between two attempts to reach a broker that does not answer yet, in seconds."""

SHORTEST_ATTEMPT = 1.0
"""The least time for one attempt to connect, in seconds; longer than a shorter connect timeout."""

NO_ANSWER = Finding("failed", "no answer in time", is_passing=True)
"""A listener that does not answer."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


class NotRunningError(CardbrokerError):
    """No broker answers, or another program in its place, or this user may not open its socket or cannot trust it.

    Nothing was sent.
    """

    def __init__(self, tried: Sequence[tuple[Endpoint, Finding]]) -> None:
        endpoint, last = tried[-1]
        code = "UNAVAILABLE"
        if last.kind == "forbidden":
            text, code = f"no permission to open {endpoint}{last.text[len('permission denied') :]}", "PERMISSION_DENIED"
        elif last.kind == "untrusted":
            text, code = f"{endpoint} is {last.text}", "PERMISSION_DENIED"
        elif last.kind == "other_program":
            why = "it has another certificate or no TLS; nothing was sent to it"
            text = f"{endpoint} is not the broker of the token file: {why}"
        elif last.kind == "too_long":
            text = f"no broker at {endpoint}: {last.text}"
        else:
            text = "no broker at " + " or ".join(f"{where} ({finding.text})" for where, finding in tried)
        super().__init__(Failure(text, delivery="NOT_SENT", code=code))
        self.endpoint = endpoint
        """The endpoint that was tried last."""
        self.finding: str = last.kind
        """What ended the search.

        `missing`, `refused`, `forbidden`, `untrusted`, `other_program`, `too_long` or `failed`.
        """


@dataclass(frozen=True)
class Look:
    """Connect once within `timeout` seconds, disconnect, and report the system's error."""

    timeout: float


@dataclass(frozen=True)
class Pause:
    """Sleep for `seconds`, then continue the loop."""

    seconds: float


Waiting = Generator[Union[Look, Pause], Optional[NotRunningError], None]
"""Yields the next step, receives the outcome of each look, and raises `NotRunningError` when the time is over."""


def waiting(
    endpoint: Endpoint,
    timeout: float,
    clock: Callable[[], float],
    is_connected: Callable[[], bool] | None = None,
    end: float = math.inf,
) -> Waiting:
    """Waits for a connection, or without `is_connected` for a listener; `end` bounds even the first attempt."""
    begun = clock()
    look_at = begun + ASK_AGAIN if is_connected else begun
    pause = _FIRST_PAUSE
    while not (is_connected and is_connected()):
        now = clock()
        if now >= min(look_at, end):
            failure = yield Look(max(min(SHORTEST_ATTEMPT, end - now), _FIRST_PAUSE))
            if is_connected() if is_connected else failure is None:
                return
            now = clock()
            # A listener that answers gets the full time of one attempt.
            if now >= min(end, begun + (timeout if failure else max(timeout, SHORTEST_ATTEMPT))):
                raise failure or NotRunningError([(endpoint, NO_ANSWER)])
            look_at, pause = now + ASK_AGAIN, _FIRST_PAUSE
        yield Pause(pause if is_connected else look_at - now)
        pause = min(pause * 2, _LONGEST_PAUSE)
