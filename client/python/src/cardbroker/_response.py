"""What comes back: the answers of a unit, where it stopped if it did, and the readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cardbroker._command import seconds
from cardbroker._errors import Delivery, FailedError, Stop, StoppedError
from cardbroker.v1 import error_pb2, reader_pb2, session_pb2, transmit_pb2


@dataclass(frozen=True)
class CommandResult:
    """The answer to one command."""

    data: bytes = field(repr=False)
    """The response data, without the status word."""
    status_word: int
    """SW1 and SW2: 0x9000 is normal processing."""
    status_word_source: str
    """Which of the exchanges that the command took gave it: COMMAND, CORRECTED_COMMAND or GET_RESPONSE."""
    get_response_count: int
    """How many GET RESPONSEs were sent for the command, 0-256."""

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
    reset_before_unit: bool = False
    """Whether the card was reset since the unit before."""
    replayed: bool = False
    """Whether this is the kept outcome of an earlier unit with the same request id."""


@dataclass(frozen=True)
class Reader:
    """A reader, and the card in it."""

    name: str
    """`readers/{id}`, by which the broker knows it."""
    display_name: str
    """The name that PC/SC gives it, for people."""
    state: str
    """EMPTY, SETTLING, READY, MUTE, HELD_ELSEWHERE, UNRESPONSIVE or UNAVAILABLE."""
    atr: bytes
    """The card's answer to reset; empty unless a card has answered one."""
    active_protocol: str | None
    """T0, T1 or RAW; `None` unless the state is READY."""
    insertion_id: str
    """Names this insertion of this card; compare for equality only. Empty without a card."""
    insertion_count: int
    """How many insertions the broker has seen in this reader, for display."""


def transmitted(response: transmit_pb2.TransmitResponse) -> Transmitted:
    """The outcome of a unit; raises `StoppedError` if it ended early."""
    outcome = Transmitted(
        results=_results(response.results),
        insertion_id=response.insertion_id,
        state_tag=response.state_tag,
        queue_duration=seconds(response.queue_duration),
        card_duration=seconds(response.card_duration),
        reset_before_unit=response.reset_before_unit,
        replayed=response.replayed,
    )
    return _unless_stopped(outcome, response.stopped if response.HasField("stopped") else None)


def session_transmitted(response: session_pb2.SessionTransmitted, insertion_id: str) -> Transmitted:
    """The same within a session."""
    outcome = Transmitted(_results(response.results), insertion_id, card_duration=seconds(response.card_duration))
    return _unless_stopped(outcome, response.stopped if response.HasField("stopped") else None)


def session_failure(failure: session_pb2.SessionFailure) -> FailedError:
    """A failure that leaves the session alive."""
    return FailedError(failure.message, reason=_reason(failure.reason), delivery=_delivery(failure.delivery))


def reader(message: reader_pb2.Reader) -> Reader:
    """A reader as the broker tells of it."""
    state = _short(reader_pb2.ReaderState, message.state, "READER_STATE_")
    protocol = _short(reader_pb2.CardProtocol, message.active_protocol, "CARD_PROTOCOL_")
    return Reader(
        name=message.name,
        display_name=message.display_name,
        state=state or "UNSPECIFIED",
        atr=message.atr,
        active_protocol=protocol,
        insertion_id=message.insertion_id,
        insertion_count=message.insertion_count,
    )


def _unless_stopped(outcome: Transmitted, stopped: transmit_pb2.UnitStop | None) -> Transmitted:
    if stopped is None:
        return outcome
    stop = Stop(stopped.index, _reason(stopped.reason), _delivery(stopped.delivery), stopped.message)
    raise StoppedError(stop, outcome)


def _results(results: Iterable[transmit_pb2.CommandResult]) -> tuple[CommandResult, ...]:
    return tuple(
        CommandResult(
            data=result.data,
            status_word=result.status_word,
            status_word_source=_source(result.status_word_source),
            get_response_count=result.get_response_count,
        )
        for result in results
    )


def _source(number: int) -> str:
    return _short(transmit_pb2.StatusWordSource, number, "STATUS_WORD_SOURCE_") or "UNSPECIFIED"


def _reason(number: int) -> str | None:
    return _short(error_pb2.ErrorReason, number, "ERROR_REASON_")


def _delivery(number: int) -> Delivery:
    return "not_sent" if number == error_pb2.DELIVERY_NOT_SENT else "unknown"


def _short(names: object, number: int, prefix: str) -> str | None:
    """The name of an enum's value without its prefix; `None` for 0, the number for one of a newer contract."""
    if number == 0:
        return None
    try:
        return str(names.Name(number)).removeprefix(prefix)  # type: ignore[attr-defined]
    except ValueError:
        return str(number)
