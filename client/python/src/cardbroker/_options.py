"""The options of units and sessions, the same with and without asyncio."""

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
"""The need for a usable card: fail at once without one, wait for one, or run without (not implemented yet)."""

CardReset = Literal["NONE", "WARM", "COLD"]
"""A reset of the card; a cold reset cuts its power."""

Disposition = Literal["LEAVE", "RESET", "UNPOWER"]
"""The treatment of the card after a turn: leave it as it is, reset it, or cut its power."""


class TurnOptions(TypedDict, total=False):
    """The terms of a turn: common keywords of `Client.transmit` and `Client.session`."""

    wait_timeout: float | None
    """The longest wait for the turn, in seconds, at most 24 h. 0: the turn begins at once or fails. Default: 30 s."""
    card: CardRequirement | None
    """`"AWAITED"`: wait up to `wait_timeout` for a usable card. Default: fail at once without one."""
    if_insertion_id: str
    """Fail (NOT_SENT) unless the card is still in this insertion (`Reader.insertion_id`)."""
    if_state_tag: str
    """Fail (NOT_SENT) if the card was used or reset since this state tag (`Transmitted.state_tag`)."""
    if_not_raised: bool
    """Fail (NOT_SENT) if the card may hold security state of any caller, this one included, such as a verified PIN."""
    reset_before: CardReset | None
    """The reset of the card before the first command. Default: none."""


class TransmitOptions(TurnOptions, total=False):
    """The keywords of `Client.transmit`, in addition to the terms of a turn."""

    deadline: float | None
    """The deadline of the whole call, in seconds from now, at most 48 h. Default: the wait and 150 s for the card.
    A unit that has begun runs on after it and its delivery is UNKNOWN; the broker ends the wait a little earlier, so
    that NOT_SENT can still be reported."""
    disposition: Disposition | None
    """The treatment of the card after the last command that runs. Default: it is left as it is."""
    request_id: bytes
    """Makes a repeat safe: a second unit with the same id (16-64 random bytes) gets the outcome of the first."""
    repeatable: bool
    """Repeat the unit if the connection is lost before its outcome is known: at most 3 times, within the deadline and
    within half the time that the broker keeps outcomes (`Limits.outcome_lifetime`). All attempts have one `request_id`
    (a fresh one if none was given), so that the broker executes the unit once, and one insertion (the current one
    without `if_insertion_id`), so that a restarted broker refuses the repeat. Without a card there is no repeat."""
    any_card: bool
    """Let the repeat run on any card; a restarted broker may then run the unit again."""


class SessionOptions(TurnOptions, total=False):
    """The keywords of `Client.session`, in addition to the terms of a turn."""

    idle_timeout: float | None
    """The idle time, in seconds, 0.1-60, after which the broker revokes the lease while others wait. Default: 10."""
    disposition: Disposition | None
    """The treatment of the card after an orderly end. Default: it is reset, as it always is after an abrupt end."""
    on_queue_position: Callable[[int], None]
    """Receives the estimated number of turns ahead, at once and after each change, until the session is open. Runs in
    the session's own thread or task, so it must not block."""


@dataclass(frozen=True)
class Opening:
    """The request that opens a session; the reader's name is filled in later."""

    request: session_pb2.OpenSessionRequest
    limit: float
    """Seconds after which a broker without an answer counts as stuck: the wait and the time for a reset."""
    on_queue_position: Callable[[int], None]

    @classmethod
    def of(cls, **options: Unpack[SessionOptions]) -> Opening:
        """Reads the keywords of `Client.session`."""
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
    """Converts the terms of a turn, with this wait in seconds; `None` if all are the defaults."""
    terms = turn_pb2.TurnOptions(
        wait_timeout=optional_duration(wait),
        card=number(CARD, options.get("card"), "turn.card"),  # type: ignore[arg-type]
        if_insertion_id=options.get("if_insertion_id", ""),
        if_state_tag=options.get("if_state_tag", ""),
        if_not_raised=options.get("if_not_raised", False),
        reset_before=number(CARD_RESET, options.get("reset_before"), "turn.reset_before"),  # type: ignore[arg-type]
    )
    return terms if terms.ListFields() else None


def disposition(word: str | None) -> turn_pb2.Disposition.ValueType:
    """Converts the word for the treatment of the card after the turn."""
    return number(DISPOSITION, word, "disposition")  # type: ignore[return-value]


def check_names(options: Mapping[str, object], known: type) -> None:
    """Refuses unknown keywords, as Python does for named parameters."""
    unknown = sorted(options.keys() - known.__annotations__.keys())
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(unknown)}")
