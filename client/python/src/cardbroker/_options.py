"""What units and sessions can be asked for, the same for programs with and without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from cardbroker._command import number
from cardbroker._times import CARD_TIME, DEFAULT_WAIT, MAX_WAIT, optional_duration
from cardbroker._words import CARD, CARD_RESET, DISPOSITION
from cardbroker.v1 import session_pb2, turn_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

CardRequirement = Literal["REQUIRED", "AWAITED", "NOT_NEEDED"]
"""Whether a turn needs a card: fail at once without a usable one; wait for one; do without (not implemented yet)."""

CardReset = Literal["NONE", "WARM", "COLD"]
"""A reset of the card; a cold one cuts its power."""

Disposition = Literal["LEAVE", "RESET", "UNPOWER"]
"""What happens to the card after a turn: it is left as it is, reset, or its power is cut."""


class TurnOptions(TypedDict, total=False):
    """The terms of a turn: keywords of `Client.transmit` and `Client.session` alike."""

    wait_timeout: float | None
    """How long to wait for the turn, in seconds, at most 24 h; 0 means now or never. Default: 30 s."""
    card: CardRequirement | None
    """`"AWAITED"`: wait, as long as `wait_timeout`, for a usable card. Default: fail at once without one."""
    if_insertion_id: str
    """Fail, not sent, unless the card is still in this insertion (`Reader.insertion_id`)."""
    if_state_tag: str
    """Fail, not sent, if anybody used or reset the card since (`Transmitted.state_tag`)."""
    reset_before: CardReset | None
    """What happens to the card before the first command. Default: nothing."""


class TransmitOptions(TurnOptions, total=False):
    """The keywords of `Client.transmit`."""

    deadline: float | None
    """When to give up on the whole call, in seconds from now, at most 48 h. Default: the wait and 150 s for the card. A
    unit that has begun then goes on without this program and its fate is unknown; the broker lets the waiting end a
    little earlier, so that NOT_SENT can still be told."""
    disposition: Disposition | None
    """What happens to the card after the last command that runs. Default: it is left as it is."""
    request_id: bytes
    """Makes a repeat safe: a second unit with the same id (16-64 bytes, random) gets the outcome of the first."""
    repeatable: bool
    """Repeat the unit if the connection is lost before its outcome is known: at most 3 times, within the deadline
    and within half the time that the broker keeps outcomes (`Limits.outcome_lifetime`), under one
    `request_id` (a fresh one if none was given), so that the broker executes it once, and on one insertion
    (the one that is there now if `if_insertion_id` names none), so that a broker that was itself restarted refuses the
    repeat. Without a card that could be known now it is not repeated."""
    any_card: bool
    """The repeat may run on whatever card is there; a restarted broker may then run the unit again."""


class SessionOptions(TurnOptions, total=False):
    """The keywords of `Client.session`."""

    idle_timeout: float | None
    """How long the session may idle while others wait before it is taken away, in seconds, 0.1-60. Default: 10."""
    disposition: Disposition | None
    """What happens to the card after a good end. Default: it is reset, as it always is after an abrupt end."""
    on_queue_position: Callable[[int], None]
    """Is told how many turns come before this one, now and whenever that changes, until the session is open. Called
    where the session's answers arrive (its thread or task), so it must not block."""


@dataclass(frozen=True)
class Opening:
    """How a session is to be opened; the reader's name is filled in later."""

    request: session_pb2.OpenSessionRequest
    limit: float
    """Seconds after which a silent broker is stuck: the wait, and the card's time for a reset."""
    on_queue_position: Callable[[int], None]

    @classmethod
    def of(cls, **options: Unpack[SessionOptions]) -> Opening:
        """What the keywords say."""
        check_names(options, SessionOptions)
        wait = options.get("wait_timeout")
        request = session_pb2.OpenSessionRequest(
            open=session_pb2.SessionOpen(
                turn=turn_options(options, wait),
                idle_timeout=optional_duration(options.get("idle_timeout")),
                disposition=disposition(options.get("disposition")),
            )
        )
        longest = DEFAULT_WAIT if wait is None else min(wait, MAX_WAIT)
        tell = options.get("on_queue_position", lambda _: None)
        return cls(request, longest + max(CARD_TIME, longest / 8), tell)


def turn_options(options: TurnOptions, wait: float | None) -> turn_pb2.TurnOptions | None:
    """The terms of a turn as they go to the broker, with this wait in seconds; `None` if all are the defaults."""
    terms = turn_pb2.TurnOptions(
        wait_timeout=optional_duration(wait),
        card=number(CARD, options.get("card"), "turn.card"),  # type: ignore[arg-type]
        if_insertion_id=options.get("if_insertion_id", ""),
        if_state_tag=options.get("if_state_tag", ""),
        reset_before=number(CARD_RESET, options.get("reset_before"), "turn.reset_before"),  # type: ignore[arg-type]
    )
    return terms if terms.ListFields() else None


def disposition(word: str | None) -> turn_pb2.Disposition.ValueType:
    """What happens to the card after the turn."""
    return number(DISPOSITION, word, "disposition")  # type: ignore[return-value]


def check_names(options: Mapping[str, object], known: type) -> None:
    """Refuses keywords that there are not, as Python does for named parameters."""
    unknown = sorted(options.keys() - known.__annotations__.keys())
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(unknown)}")
