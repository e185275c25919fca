"""The outcome of a unit: the answers to its commands, and the error of a unit that stopped early."""

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
    """The exchange that the status word comes from: COMMAND, CORRECTED_COMMAND or GET_RESPONSE."""
    get_response_count: int = 0
    """The count of GET RESPONSEs that the command took, 0-256."""
    card_duration: float = 0.0
    """The time that the card and its reader worked on the command, in seconds."""
    kind: str = "apdu"
    """The kind of answer: `apdu`, `control`, `attribute` or `pin_pad`; empty for a kind newer than this client."""

    @property
    def meaning(self) -> str | None:
        """The meaning of the status word by ISO 7816-4, in words; `None` if the standard defines none."""
        return meaning(self.status_word)

    def __repr__(self) -> str:
        # Not even the number of bytes, which may tell the length of a PIN.
        return f"CommandResult({self.kind}, {self.status_word:04X})"


@dataclass(frozen=True)
class Transmitted:
    """The answers and times of a unit. Within a session only `results`, `insertion_id` and `card_duration` are set."""

    results: tuple[CommandResult, ...]
    """The answers, in the order of the commands."""
    insertion_id: str
    """The insertion that the unit ran on; within a session the insertion at its opening."""
    state_tag: str = ""
    """The state tag after the unit, for `if_state_tag`. Empty within a session, where no other caller can change it."""
    queue_duration: float = 0.0
    """The time that the unit waited for its turn, in seconds."""
    card_duration: float = 0.0
    """The time that the card worked on the unit, in seconds."""
    was_reset: bool = False
    """Whether the card was reset between the previous unit and this one, or at the start of this one."""
    replayed: bool = False
    """Whether this is the stored outcome of an earlier unit with the same request id."""


class StoppedError(CardbrokerError):
    """A unit that ended before its last command was answered."""

    def __init__(self, index: int, failure: Failure, partial: Transmitted) -> None:
        super().__init__(failure, f"stopped at command {index + 1}: {failure.message}")
        self.index = index
        """The first command without a complete answer, counted from 0; `delivery` concerns this command."""
        self.partial = partial
        """The answers before the stop."""


def transmitted(response: transmit_pb2.TransmitResponse) -> Transmitted:
    """Converts the outcome of a unit; raises `StoppedError` if the unit ended early."""
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
    """Converts the outcome of a unit within a session; raises `StoppedError` if the unit ended early."""
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
