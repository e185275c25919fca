"""Converts the client's answers to the messages that the kit compares."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
from cardbroker.v1 import broker_pb2, command_pb2, error_pb2, reader_pb2, session_pb2, transmit_pb2, turn_pb2
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

import cardbroker


def printed(message: Message) -> dict[str, Any]:
    """Converts a message to JSON."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def error_of(error: cardbroker.CardbrokerError, *, is_in_session: bool = False) -> dict[str, Any]:
    """Converts all properties of an error."""
    kinds = (
        (cardbroker.NotRunningError, "not_running"),
        (cardbroker.InvalidError, "invalid"),
        (cardbroker.StoppedError, "stopped"),
    )
    failure = printed(_failure_message(error))
    if error.reason and "reason" not in failure:
        failure["reason"] = error.reason
    shown: dict[str, Any] = {
        "kind": next((name for kind, name in kinds if isinstance(error, kind)), "failed"),
        "failure": failure,
        "permanent": error.is_permanent,
    }
    if isinstance(error, cardbroker.StoppedError):
        shown["index"] = error.index
        shown["response"] = printed((session_message if is_in_session else transmit_message)(error.partial))
    return shown


def broker_message(broker: cardbroker.Broker) -> broker_pb2.GetBrokerResponse:
    """Converts the broker's description of itself."""
    limits, caller = broker.limits, broker.caller
    return broker_pb2.GetBrokerResponse(
        version=broker.version,
        epoch=broker.epoch,
        start_time=_time(broker.start_time),
        capabilities=broker.capabilities,
        limits=broker_pb2.BrokerLimits(
            max_message_bytes=limits.max_message_bytes,
            max_commands=limits.max_commands,
            max_session_messages=limits.max_session_messages,
            max_waiting_per_caller=limits.max_waiting_per_caller,
            max_waiting_per_reader=limits.max_waiting_per_reader,
            max_outcomes_per_user=limits.max_outcomes_per_user,
            outcome_lifetime=_duration(limits.outcome_lifetime),
            max_contended_lease=_duration(limits.max_contended_lease),
            turn_quantum=None if limits.turn_quantum is None else _exact_duration(limits.turn_quantum),
            max_contended_unit=_duration(limits.max_contended_unit),
        ),
        caller=broker_pb2.CallerInfo(
            principal=caller.principal,
            process_id=caller.process_id,
            connection=caller.connection,
            is_connection=caller.is_connection,
            group=caller.group,
        ),
    )


def reader_message(reader: cardbroker.Reader) -> reader_pb2.Reader:
    """Converts the properties of a reader."""
    return reader_pb2.Reader(
        name=reader.name,
        display_name=reader.display_name,
        state=_number(reader_pb2.ReaderState, "READER_STATE_", reader.state),
        atr=reader.atr,
        active_protocol=_number(reader_pb2.CardProtocol, "CARD_PROTOCOL_", reader.active_protocol),
        insertion_id=reader.insertion_id,
        insertion_count=reader.insertion_count,
    )


def turns_message(waiting: list[cardbroker.WaitingTurn]) -> turn_pb2.WatchTurnResponse:
    """Converts the waiting requests of a watch."""
    return turn_pb2.WatchTurnResponse(waiting=map(_waiting_message, waiting))


def transmit_message(outcome: cardbroker.Transmitted) -> transmit_pb2.TransmitResponse:
    """Converts the outcome of a unit."""
    return transmit_pb2.TransmitResponse(
        results=map(_result_message, outcome.results),
        insertion_id=outcome.insertion_id,
        state_tag=outcome.state_tag,
        queue_duration=_duration(outcome.queue_duration),
        card_duration=_duration(outcome.card_duration),
        was_reset=outcome.was_reset,
        replayed=outcome.replayed,
    )


def session_message(outcome: cardbroker.Transmitted) -> session_pb2.SessionTransmitted:
    """Converts the outcome of a session's message."""
    return session_pb2.SessionTransmitted(
        results=map(_result_message, outcome.results), card_duration=_duration(outcome.card_duration)
    )


def opened_message(session: cardbroker.Session) -> session_pb2.SessionOpened:
    """Converts the properties of an open session."""
    return session_pb2.SessionOpened(
        insertion_id=session.insertion_id,
        state_tag=session.state_tag,
        atr=session.atr,
        queue_duration=_duration(session.queue_duration),
        was_reset=session.was_reset,
    )


def _failure_message(error: cardbroker.CardbrokerError) -> error_pb2.Failure:
    code = next((each.value[0] for each in grpc.StatusCode if each.name == error.code), None)
    return error_pb2.Failure(
        reason=_number(error_pb2.ErrorReason, "ERROR_REASON_", error.reason),
        delivery=error_pb2.Delivery.Value("DELIVERY_" + error.delivery),
        message=error.message,
        code=int(error.code) if code is None else code,
        retry_after=None if error.retry_after is None else _duration(error.retry_after),
        rule=error.rule or "",
        cause=_number(error_pb2.RevocationCause, "REVOCATION_CAUSE_", error.cause),
        field_violations=[
            error_pb2.FieldViolation(field=each.field, description=each.description) for each in error.field_violations
        ],
        reader=error.reader or "",
        tries_left=error.tries_left,
    )


def _waiting_message(turn: cardbroker.WaitingTurn) -> turn_pb2.WaitingTurn:
    holder = turn.holder
    return turn_pb2.WaitingTurn(
        reader=turn.reader,
        is_session=turn.is_session,
        turns_ahead_count=turn.turns_ahead_count,
        arrive_time=_time(turn.arrive_time),
        deadline_time=_time(turn.deadline_time),
        holder=None
        if holder is None
        else turn_pb2.TurnHolder(
            is_own=holder.is_own, is_session=holder.is_session, begin_time=_time(holder.begin_time)
        ),
    )


def _result_message(result: cardbroker.CommandResult) -> command_pb2.CommandResult:
    message = command_pb2.CommandResult(card_duration=_duration(result.card_duration))
    if result.kind == "control":
        message.control.data = result.data
    elif result.kind == "attribute":
        message.attribute.value = result.data
    elif result.kind == "pin_pad":
        message.pin_pad.status_word = result.status_word
    elif result.kind == "apdu":
        source = _number(command_pb2.StatusWordSource, "STATUS_WORD_SOURCE_", result.status_word_source)
        message.apdu.CopyFrom(
            command_pb2.ApduResult(
                data=result.data,
                status_word=result.status_word,
                status_word_source=source,
                get_response_count=result.get_response_count,
            )
        )
    return message


def _number(enum: Any, prefix: str, word: str | None) -> Any:  # noqa: ANN401
    if word is None:
        return 0
    if word.isdigit():
        return int(word)
    # Messages of the contract cannot contain names that it does not define.
    return enum.Value(prefix + word) if prefix + word in enum.keys() else 0  # noqa: SIM118


def _duration(seconds: float) -> Duration | None:
    return _exact_duration(seconds) if seconds else None


def _exact_duration(seconds: float) -> Duration:
    """A duration whose presence has a meaning, even if it is zero."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
