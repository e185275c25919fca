"""The broker's description of itself, of its caller and of the caller's waiting requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cardbroker._times import moment, seconds
from cardbroker.v1 import broker_pb2, turn_pb2


@dataclass(frozen=True)
class Limits:
    """The limits that apply to this program."""

    max_message_bytes: int
    """The largest request, and the largest response, in bytes."""
    max_commands: int
    """The largest number of commands in a unit."""
    max_session_messages: int
    """The largest number of unanswered messages in a session."""
    max_waiting_per_caller: int
    """The largest number of this program's requests that may wait at one reader."""
    max_waiting_per_reader: int
    """The largest number of requests of all callers that may wait at one reader."""
    max_outcomes_per_user: int
    """The largest number of outcomes that the broker stores for the user."""
    outcome_lifetime: float
    """The time for which the broker stores an outcome, in seconds."""
    max_contended_lease: float
    """The longest lease of a session while callers of other groups wait, in seconds."""
    turn_quantum: float | None
    """The longest visit, in seconds: consecutive turns of one group where that saves a reset. None: one and a half
    times the duration of the reader's resets, at most 0.5 s."""
    max_contended_unit: float
    """The longest time of a unit on the card while callers of other groups wait, in seconds; less while several users
    wait."""


@dataclass(frozen=True)
class Caller:
    """The identity of a program at the broker, on which its turns and its isolation depend."""

    principal: str
    """The user (`user 1000`, on Windows with the SID) or the token. For people."""
    process_id: int | None
    """The process id; `None` if it is unknown: then the connection is the caller."""
    connection: int
    """The number of the connection, counted from 1 in this run of the broker."""
    is_connection: bool
    """Whether the connection is the caller: other connections, even of this process, are other callers."""
    group: int
    """The number of the isolation group, from 1; 0 if each call is a group of its own."""


@dataclass(frozen=True)
class Broker:
    """The broker and the identity of its caller."""

    version: str
    """The version of the broker: `0.1.0`."""
    epoch: str
    """Identifies this run of the broker: a new value means a restart without the stored outcomes."""
    start_time: datetime | None
    """The start of this run, in UTC."""
    capabilities: tuple[str, ...]
    """Features beyond the contract, as words that the broker's documents list."""
    limits: Limits
    """The limits that apply to this program."""
    caller: Caller
    """The identity of this program at the broker."""


@dataclass(frozen=True)
class Holder:
    """The current turn of a card."""

    is_own: bool
    """Whether the turn belongs to this program."""
    is_session: bool
    """Whether the turn is a session; otherwise it is a unit."""
    begin_time: datetime | None
    """The start of the turn, in UTC."""


@dataclass(frozen=True)
class WaitingTurn:
    """A request of this program that waits for its turn."""

    reader: str
    """The resource name of the reader: `readers/{id}`."""
    is_session: bool
    """Whether the request opens a session; otherwise it runs a unit."""
    turns_ahead_count: int
    """The number of turns ahead, an estimate: a group that has the card may keep it for several turns where that saves
    a reset."""
    arrive_time: datetime | None
    """The arrival of the request, in UTC."""
    deadline_time: datetime | None
    """The end of the wait, in UTC."""
    holder: Holder | None
    """The current turn of the card; `None` without a holder."""


def broker(message: broker_pb2.GetBrokerResponse) -> Broker:
    """Converts the broker's description of itself."""
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
            turn_quantum=seconds(limits.turn_quantum) if limits.HasField("turn_quantum") else None,
            max_contended_unit=seconds(limits.max_contended_unit),
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
    """The waiting requests; `None` for a heartbeat."""
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
