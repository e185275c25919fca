"""What the broker tells of itself and of its caller, and of the turns that the caller waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cardbroker._times import moment, seconds
from cardbroker.v1 import broker_pb2, turn_pb2


@dataclass(frozen=True)
class Limits:
    """The limits that this program is under."""

    max_message_bytes: int
    """The most bytes of a request, and of a response."""
    max_commands: int
    """The most commands of a unit."""
    max_session_messages: int
    """The most messages of a session that may be unanswered."""
    max_waiting_per_caller: int
    """The most requests of this program that may wait at one reader."""
    max_waiting_per_reader: int
    """The most requests of all programs that may wait at one reader."""
    max_outcomes_per_user: int
    """The most outcomes that are kept for the user under a `request_id`."""
    outcome_lifetime: float
    """How long an outcome is kept, in seconds."""
    max_contended_lease: float
    """How long a session may hold the card while others wait, in seconds."""


@dataclass(frozen=True)
class Caller:
    """The program as the broker sees it: what its turns and its isolation depend on."""

    principal: str
    """Who is responsible: `user 1000`, `token build-7`. For people."""
    process_id: int | None
    """The process; `None` if it is not known: then the connection is the caller."""
    connection: int
    """The number of the connection, counted from 1 in this run of the broker."""
    is_connection: bool
    """Whether the connection is the caller: other connections, of this process too, are other callers."""
    group: int
    """The number of the isolation group, counted from 1; 0 if each call is a group of its own."""


@dataclass(frozen=True)
class Broker:
    """The broker, and its caller as the broker sees it."""

    version: str
    """The broker's version: `0.1.0`."""
    epoch: str
    """Names this run of the broker: a new one means that it was restarted and all kept outcomes are gone."""
    start_time: datetime | None
    """When this run began, in UTC."""
    capabilities: tuple[str, ...]
    """What it can do beyond the contract, as words that its documents list."""
    limits: Limits
    """The limits that this program is under."""
    caller: Caller
    """This program."""


@dataclass(frozen=True)
class Holder:
    """A turn that has begun."""

    is_own: bool
    """Whether it is this program's own."""
    is_session: bool
    """Whether it is a session; otherwise it is a unit."""
    begin_time: datetime | None
    """When it began, in UTC."""


@dataclass(frozen=True)
class WaitingTurn:
    """A request of this program that waits for its turn."""

    reader: str
    """`readers/{id}`."""
    is_session: bool
    """Whether a session is to be opened, or a unit to be run."""
    turns_ahead_count: int
    """About how many turns come before it."""
    arrive_time: datetime | None
    """When it arrived, in UTC."""
    deadline_time: datetime | None
    """When it gives up, in UTC."""
    holder: Holder | None
    """The turn that the card is in; `None` if nobody holds it."""


def broker(message: broker_pb2.GetBrokerResponse) -> Broker:
    """The broker as it tells of itself."""
    limits, caller = message.limits, message.caller
    return Broker(
        version=message.version,
        epoch=message.epoch,
        start_time=moment(message.start_time) if message.HasField("start_time") else None,
        capabilities=tuple(message.capabilities),
        limits=Limits(
            max_message_bytes=limits.max_message_bytes,
            max_commands=limits.max_commands,
            max_session_messages=limits.max_session_messages,
            max_waiting_per_caller=limits.max_waiting_per_caller,
            max_waiting_per_reader=limits.max_waiting_per_reader,
            max_outcomes_per_user=limits.max_outcomes_per_user,
            outcome_lifetime=seconds(limits.outcome_lifetime),
            max_contended_lease=seconds(limits.max_contended_lease),
        ),
        caller=Caller(
            principal=caller.principal,
            process_id=caller.process_id if caller.HasField("process_id") else None,
            connection=caller.connection,
            is_connection=caller.is_connection,
            group=caller.group,
        ),
    )


def waiting_turns(message: turn_pb2.WatchTurnResponse) -> list[WaitingTurn] | None:
    """The requests that wait; `None` if the message only shows that the stream is alive."""
    return None if message.is_heartbeat else [_waiting_turn(turn) for turn in message.waiting]


def _waiting_turn(turn: turn_pb2.WaitingTurn) -> WaitingTurn:
    holder = turn.holder
    return WaitingTurn(
        reader=turn.reader,
        is_session=turn.is_session,
        turns_ahead_count=turn.turns_ahead_count,
        arrive_time=moment(turn.arrive_time) if turn.HasField("arrive_time") else None,
        deadline_time=moment(turn.deadline_time) if turn.HasField("deadline_time") else None,
        holder=Holder(
            is_own=holder.is_own,
            is_session=holder.is_session,
            begin_time=moment(holder.begin_time) if holder.HasField("begin_time") else None,
        )
        if turn.HasField("holder")
        else None,
    )
