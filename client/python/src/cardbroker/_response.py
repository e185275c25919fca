"""What a unit brings: the answers to its commands, and how it ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cardbroker._errors import CardbrokerError, Failure
from cardbroker._meaning import meaning
from cardbroker._status import of_failure
from cardbroker._times import seconds
from cardbroker._words import STATUS_WORD_SOURCE
from cardbroker.v1 import command_pb2, session_pb2, transmit_pb2


@dataclass(frozen=True)
class CommandResult:
    """The answer to one command."""

    data: bytes = field(repr=False)
    """The response data, without the status word; with `kind` attribute its value."""
    status_word: int
    """SW1 and SW2: 0x9000 is normal processing. 0 where `kind` has none."""
    status_word_source: str | None = None
    """Which of the exchanges that the command took gave it: COMMAND, CORRECTED_COMMAND or GET_RESPONSE."""
    get_response_count: int = 0
    """How many GET RESPONSEs were sent for the command, 0-256."""
    card_duration: float = 0.0
    """How long the card and its reader worked on it, in seconds."""
    kind: str = "apdu"
    """What was answered: `apdu`, `control`, `attribute` or `pin_pad`; empty for what this client does not know."""

    @property
    def meaning(self) -> str | None:
        """What the status word means by ISO 7816-4, in words; `None` if it gives it no meaning."""
        return meaning(self.status_word)

    def __repr__(self) -> str:
        return f"CommandResult({len(self.data)} bytes, {self.status_word:04X})"


@dataclass(frozen=True)
class Transmitted:
    """What a unit answered, and how it ran. Within a session only `results` and `card_duration` are of its own."""

    results: tuple[CommandResult, ...]
    """The answers, in the order of the commands."""
    insertion_id: str
    """The insertion that the unit ran on; within a session the one that it was opened on."""
    state_tag: str = ""
    """The card's state after the unit, for `if_state_tag`. Empty within a session, where nobody else can change it."""
    queue_duration: float = 0.0
    """How long the unit waited for its turn, in seconds."""
    card_duration: float = 0.0
    """How long the card worked on it, in seconds."""
    was_reset: bool = False
    """Whether the card was reset between the unit before and this one, or at the start of this one."""
    replayed: bool = False
    """Whether this is the kept outcome of an earlier unit with the same request id."""


class StoppedError(CardbrokerError):
    """The unit ended before its last command was answered."""

    def __init__(self, index: int, failure: Failure, partial: Transmitted) -> None:
        super().__init__(failure, f"stopped at command {index + 1}: {failure.message}")
        self.index = index
        """The first command, counted from 0, that has no complete answer; `delivery` concerns this one."""
        self.partial = partial
        """What was answered."""


def transmitted(response: transmit_pb2.TransmitResponse) -> Transmitted:
    """The outcome of a unit; raises `StoppedError` if it ended early."""
    outcome = Transmitted(
        results=_results(response.results),
        insertion_id=response.insertion_id,
        state_tag=response.state_tag,
        queue_duration=seconds(response.queue_duration),
        card_duration=seconds(response.card_duration),
        was_reset=response.was_reset,
        replayed=response.replayed,
    )
    return _unless_stopped(outcome, response.stopped if response.HasField("stopped") else None)


def session_transmitted(response: session_pb2.SessionTransmitted, insertion_id: str) -> Transmitted:
    """The same within a session."""
    outcome = Transmitted(_results(response.results), insertion_id, card_duration=seconds(response.card_duration))
    return _unless_stopped(outcome, response.stopped if response.HasField("stopped") else None)


def _unless_stopped(outcome: Transmitted, stopped: command_pb2.UnitStop | None) -> Transmitted:
    if stopped is None:
        return outcome
    raise StoppedError(stopped.index, of_failure(stopped.failure), outcome)


def _results(results: Iterable[command_pb2.CommandResult]) -> tuple[CommandResult, ...]:
    return tuple(map(_result, results))


def _result(result: command_pb2.CommandResult) -> CommandResult:
    kind = result.WhichOneof("outcome") or ""
    apdu = result.apdu
    return CommandResult(
        data=apdu.data or result.control.data or result.attribute.value,
        status_word=result.pin_pad.status_word if kind == "pin_pad" else apdu.status_word,
        status_word_source=STATUS_WORD_SOURCE.of(apdu.status_word_source),
        get_response_count=apdu.get_response_count,
        card_duration=seconds(result.card_duration),
        kind=kind,
    )
