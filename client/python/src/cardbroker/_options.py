"""What units and sessions can be asked for, the same for programs with and without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from cardbroker._command import duration
from cardbroker._times import CARD_TIME, DEFAULT_WAIT, MAX_DEADLINE
from cardbroker.v1 import session_pb2, transmit_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TransmitOptions(TypedDict, total=False):
    """The keywords of `Client.transmit`."""

    raw: bool
    """Send every command exactly as given, hand back every answer as it comes: no GET RESPONSE, no correction of Le."""
    wait_timeout: float | None
    """How long to wait for the turn, in seconds, at most 24 h; 0 means now or never. Default: 30 s. Shortened where
    `deadline` asks for it."""
    deadline: float | None
    """When to give up on the whole call, in seconds from now, at most 48 h. Default: the wait and 150 s for the card. A
    unit that has begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so
    that "not sent" can still be told."""
    wait_for_card: bool
    """Wait, as long as `wait_timeout`, for a usable card instead of failing without one."""
    start_reset: bool
    """Reset the card (warm) before the first command."""
    if_insertion_id: str
    """Fail, not sent, unless the card is still in this insertion (`Reader.insertion_id`)."""
    if_state_tag: str
    """Fail, not sent, if anybody used or reset the card since (`Transmitted.state_tag`)."""
    request_id: bytes
    """Makes a repeat safe: a second unit with the same id (16-64 bytes, random) gets the outcome of the first."""
    repeatable: bool
    """Repeat the unit if the connection is lost before its outcome is known: at most 3 times, within the deadline, and
    under one `request_id` (a fresh one if none was given), so that the broker executes it once. A broker that was
    itself restarted in between has forgotten the first outcome: with `if_insertion_id` it refuses the repeat, without
    it may execute the unit again."""


class SessionOptions(TypedDict, total=False):
    """The keywords of `Client.session`."""

    wait_timeout: float
    """How long to wait for the turn, in seconds, at most 24 h; 0 means now or never. Default: 30 s."""
    wait_for_card: bool
    """Wait, as long as `wait_timeout`, for a usable card instead of failing without one."""
    if_insertion_id: str
    """Fail unless the card is still in this insertion (`Reader.insertion_id`)."""
    if_state_tag: str
    """Fail if anybody used or reset the card since (`Transmitted.state_tag`)."""
    start_reset: bool
    """Reset the card (warm) before the session."""
    idle_timeout: float
    """How long the session may idle while others wait before it is taken away, in seconds, 0.1-60. Default: 10."""
    leave_at_end: bool
    """Leave the card as it is after a good end, unless the next caller belongs to another isolation group. Otherwise
    it is reset, as it always is after an abrupt end."""
    on_queue_position: Callable[[int], None]
    """Is told how many turns come before this one, now and whenever that changes, until the session is open. Called
    where the session's answers arrive (its thread or task), so it must not block."""


@dataclass(frozen=True)
class Opening:
    """How a session is to be opened."""

    request: session_pb2.OpenSessionRequest
    limit: float
    """Seconds after which a silent broker is stuck: the wait, and the card's time for a reset."""
    on_queue_position: Callable[[int], None]

    @classmethod
    def of(cls, reader: str, **options: Unpack[SessionOptions]) -> Opening:
        """What the keywords say."""
        check_names(options, SessionOptions)
        wait = min(options.get("wait_timeout", DEFAULT_WAIT), MAX_DEADLINE)
        idle_timeout = options.get("idle_timeout")
        request = session_pb2.SessionOpen(
            reader=reader,
            wait_timeout=duration(wait),
            wait_for_card=options.get("wait_for_card", False),
            if_insertion_id=options.get("if_insertion_id", ""),
            if_state_tag=options.get("if_state_tag", ""),
            start=card_start(options.get("start_reset", False)),
            idle_timeout=None if idle_timeout is None else duration(idle_timeout),
            end=session_pb2.SESSION_END_LEAVE if options.get("leave_at_end") else session_pb2.SESSION_END_UNSPECIFIED,
        )
        tell = options.get("on_queue_position", lambda _: None)
        return cls(session_pb2.OpenSessionRequest(open=request), wait + max(CARD_TIME, wait / 8), tell)


def check_names(options: Mapping[str, object], known: type) -> None:
    """Refuses keywords that there are not, as Python does for named parameters."""
    unknown = sorted(options.keys() - known.__annotations__.keys())
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(unknown)}")


def card_start(reset: bool) -> transmit_pb2.CardStart.ValueType:
    """What happens to the card before the first command."""
    return transmit_pb2.CARD_START_RESET if reset else transmit_pb2.CARD_START_UNSPECIFIED
