"""Units: the request, its deadline, and its repeats after a lost connection. No I/O; the clock is an argument."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cardbroker._command import CommandLike, check_length, to_wire
from cardbroker._errors import CardbrokerError, is_lost, is_reported
from cardbroker._options import TransmitOptions, check_names, disposition, turn_options
from cardbroker._reader import ReaderLike
from cardbroker._response import Transmitted, transmitted
from cardbroker._steps import Step, Steps, get_broker, get_reader, resolve
from cardbroker._times import deadline_of, jittered
from cardbroker.v1 import transmit_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

_REPEATS = 3
_FIRST_PAUSE = 0.1
_REQUEST_ID_BYTES = 16


def unit(
    reader: ReaderLike, commands: Iterable[CommandLike], clock: Callable[[], float], **options: Unpack[TransmitOptions]
) -> Steps[Transmitted]:
    """The steps of a unit; refuses malformed requests at once."""
    check_names(options, TransmitOptions)
    wait = options.get("wait_timeout")
    limit = deadline_of(wait, options.get("deadline"))
    repeatable = options.get("repeatable", False)
    request_id = options.get("request_id", b"")
    request = transmit_pb2.TransmitRequest(
        commands=to_wire(commands),
        turn=turn_options(options, wait),
        request_id=secrets.token_bytes(_REQUEST_ID_BYTES) if repeatable and not request_id else request_id,
        disposition=disposition(options.get("disposition")),
    )
    check_length(request.ByteSize())
    return _steps(reader, request, limit, repeatable, options.get("any_card", False), clock)


def _steps(
    reader: ReaderLike,
    request: transmit_pb2.TransmitRequest,
    limit: float,
    repeatable: bool,
    any_card: bool,
    clock: Callable[[], float],
) -> Steps[Transmitted]:
    end = clock() + limit
    request.reader = yield from resolve(reader, end)
    if repeatable and not any_card and not request.turn.if_insertion_id:
        there = yield from get_reader(request.reader, end)
        if there.insertion_id:
            request.turn.if_insertion_id = there.insertion_id
        else:
            # Without a card the repeat could run on any card.
            repeatable = False
    lifetime = 0.0
    if repeatable:
        lifetime = (yield from get_broker(end)).limits.outcome_lifetime
    # Later the broker may have dropped the outcome and would run the unit again. Counts from before the first attempt
    # connects.
    latest = clock() + lifetime / 2
    outcome = yield Step(request, end=end)
    if isinstance(outcome, transmit_pb2.TransmitResponse):
        return transmitted(outcome)
    assert isinstance(outcome, CardbrokerError)
    first = outcome
    if not (repeatable and is_lost(first)):
        raise first
    for pause in pauses():
        if clock() + pause >= min(end, latest):
            break
        outcome = yield Step(request, pause, end, latest)
        if isinstance(outcome, transmit_pb2.TransmitResponse):
            return transmitted(outcome)
        assert isinstance(outcome, CardbrokerError)
        if is_lost(outcome):
            continue
        if outcome.delivery == "NOT_SENT" or not is_reported(outcome):
            # True of this attempt, but the first attempt may have reached the card.
            break
        raise outcome
    raise first


def pauses() -> Iterable[float]:
    """The pauses before the repeats, in seconds: each twice as long, half fixed and half random."""
    return [jittered(_FIRST_PAUSE * 2**repeat) for repeat in range(_REPEATS)]
