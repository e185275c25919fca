"""Units: the request, how long it may take, and its repeats after a lost connection. No I/O, no clock of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from cardbroker._command import CommandLike, check_length, duration, to_wire
from cardbroker._errors import CardbrokerError, NotRunningError, is_lost
from cardbroker._options import TransmitOptions, card_start, check_names
from cardbroker._response import Transmitted, transmitted
from cardbroker._times import jittered, times
from cardbroker.v1 import transmit_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

_REPEATS = 3
_FIRST_PAUSE = 0.1


@dataclass(frozen=True)
class Attempt:
    """One call to make, after a pause."""

    request: transmit_pb2.TransmitRequest
    deadline: float
    """Seconds from its start."""
    pause: float
    """Seconds before it."""


Outcome = Union[transmit_pb2.TransmitResponse, CardbrokerError]
Attempts = Generator[Attempt, Outcome, Transmitted]


def unit(
    reader: str, commands: Iterable[CommandLike], clock: Callable[[], float], **options: Unpack[TransmitOptions]
) -> Attempts:
    """Yields the attempts to make, is sent the outcome of each, and returns or raises that of the unit."""
    check_names(options, TransmitOptions)
    limit, wait = times(options.get("wait_timeout"), options.get("deadline"))
    repeatable = options.get("repeatable", False)
    request_id = options.get("request_id", b"")
    request = transmit_pb2.TransmitRequest(
        reader=reader,
        commands=to_wire(commands),
        request_id=secrets.token_bytes(16) if repeatable and not request_id else request_id,
        if_insertion_id=options.get("if_insertion_id", ""),
        if_state_tag=options.get("if_state_tag", ""),
        wait_timeout=duration(wait),
        wait_for_card=options.get("wait_for_card", False),
        start=card_start(options.get("start_reset", False)),
        raw=options.get("raw", False),
    )
    check_length(request.ByteSize())
    return _attempts(request, limit, wait, repeatable, clock)


def _attempts(
    request: transmit_pb2.TransmitRequest, limit: float, wait: float, repeatable: bool, clock: Callable[[], float]
) -> Attempts:
    end = clock() + limit
    outcome = yield Attempt(request, limit, 0.0)
    if isinstance(outcome, transmit_pb2.TransmitResponse):
        return transmitted(outcome)
    first = outcome
    if not (repeatable and is_lost(first)):
        raise first
    for pause in pauses():
        limit, wait = times(wait, max(end - clock() - pause, 0.0))
        if limit <= 0:
            break
        request.wait_timeout.CopyFrom(duration(wait))
        outcome = yield Attempt(request, limit, pause)
        if isinstance(outcome, transmit_pb2.TransmitResponse):
            return transmitted(outcome)
        if is_lost(outcome) or isinstance(outcome, NotRunningError):
            continue
        if outcome.delivery == "not_sent":
            # True of this attempt, but the first one may have reached the card.
            break
        raise outcome
    raise first


def pauses() -> Iterable[float]:
    """How long to pause before each repeat: twice as long each time, half fixed and half random."""
    return [jittered(_FIRST_PAUSE * 2**repeat) for repeat in range(_REPEATS)]
