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

NO_ANSWER = Finding("failed", "no answer in time", waiting_helps=True)
"""A listener that does not answer."""


class NotRunningError(CardbrokerError):
    """No broker answers, or another program in its place, or this user may not open its socket or cannot trust it.

    Nothing was sent.
    """

    def __init__(self, in_vain: Sequence[tuple[Endpoint, Finding]]) -> None:
        endpoint, last = in_vain[-1]
        code = "UNAVAILABLE"
        if last.kind == "forbidden":
            text, code = f"no permission to open {endpoint}{last.text[len('permission denied') :]}", "PERMISSION_DENIED"
        elif last.kind == "untrusted":
            text, code = f"{endpoint} is {last.text}", "PERMISSION_DENIED"
        elif last.kind == "other_program":
            why = "it has another certificate or no TLS; nothing was sent to it"
            text = f"{endpoint} is not the broker of the token file: {why}"
            if endpoint.is_auto:
                text = f"the port of {endpoint} is not that of the broker of the endpoint file: {why}"
        elif last.kind == "too_long":
            text = f"no broker at {endpoint}: {last.text}"
        elif last.is_malformed:
            text = f"{endpoint}: {last.text}"
        else:
            text = "no broker at " + " or ".join(f"{where} ({finding.text})" for where, finding in in_vain)
        super().__init__(Failure(text, delivery="NOT_SENT", code=code))
        self.endpoint = endpoint
        """The endpoint that was tried last."""
        self.finding: str = last.kind
        """What ended the search.

        `missing`, `refused`, `forbidden`, `untrusted`, `other_program`, `too_long` or `failed`.
        """
        self._waiting_helps = last.waiting_helps


@dataclass(frozen=True)
class Attempt:
    """Try once to connect, until the time `end` at the latest, and report the error."""

    end: float


@dataclass(frozen=True)
class Pause:
    """Sleep for `seconds`, then continue the loop."""

    seconds: float


Waiting = Generator[Union[Attempt, Pause], Optional[NotRunningError], None]
"""Yields the next step, receives the outcome of each attempt, and raises `NotRunningError` when the time is over."""


def waiting(timeout: float, clock: Callable[[], float], end: float = math.inf) -> Waiting:
    """Tries to connect until it works or waiting does not help; `end` bounds even the first attempt."""
    last = min(clock() + timeout, end)
    while True:
        # A listener that answers gets the full time of one attempt.
        failure = yield Attempt(min(max(last, clock() + SHORTEST_ATTEMPT), end))
        if failure is None:
            return
        left = last - clock()
        if not failure._waiting_helps or left <= 0:
            raise failure
        yield Pause(min(ASK_AGAIN, left))
