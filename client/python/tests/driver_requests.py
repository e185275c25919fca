"""Converts the kit's requests to arguments of the client's calls. Unset fields become no argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from cardbroker.v1 import command_pb2, session_pb2, transmit_pb2, turn_pb2
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

import cardbroker

Arguments = dict[str, Any]
_M = TypeVar("_M", bound=Message)

_ENUMS = {"PinPadOperation": "PIN_PAD_OPERATION_", "PinEncoding": "PIN_ENCODING_", "StopRule": "STOP_RULE_"}
_ENUMS |= {"CardRequirement": "CARD_REQUIREMENT_", "CardReset": "CARD_RESET_", "Disposition": "DISPOSITION_"}


def parsed(value: dict[str, Any], into: _M) -> _M:
    """Reads a message from its JSON."""
    return json_format.ParseDict(value, into)


def word(message: Message, field: str) -> str | None:
    """The client's word for an enum's value; `None` if it is unset."""
    enum: Any = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    if number == 0:
        return None
    known = enum.values_by_number.get(number)
    return known.name.removeprefix(_ENUMS[enum.name]) if known else str(number)


def unit_arguments(request: transmit_pb2.TransmitRequest, line: dict[str, Any]) -> Arguments:
    """The keywords for `Client.transmit`."""
    return _given(
        {
            **_turn(request.turn),
            "request_id": request.request_id or None,
            "disposition": word(request, "disposition"),
            "deadline": line.get("deadline"),
            "repeatable": line.get("repeat"),
            "any_card": line.get("any_card"),
        }
    )


def session_arguments(request: session_pb2.SessionOpen) -> Arguments:
    """The keywords for `Client.session`."""
    idle = _seconds(request.idle_timeout) if request.HasField("idle_timeout") else None
    return _given({**_turn(request.turn), "idle_timeout": idle, "disposition": word(request, "disposition")})


def unit_commands(request: transmit_pb2.TransmitRequest) -> list[cardbroker.Command]:
    """Converts the commands of a unit."""
    return _commands(request.commands)


def session_commands(request: session_pb2.SessionTransmit) -> list[cardbroker.Command]:
    """Converts the commands of a message."""
    return _commands(request.commands)


def _turn(turn: turn_pb2.TurnOptions) -> Arguments:
    return _given(
        {
            "wait_timeout": _seconds(turn.wait_timeout) if turn.HasField("wait_timeout") else None,
            "card": word(turn, "card"),
            "if_insertion_id": turn.if_insertion_id or None,
            "if_state_tag": turn.if_state_tag or None,
            "if_not_raised": turn.if_not_raised or None,
            "reset_before": word(turn, "reset_before"),
        }
    )


def _commands(commands: Iterable[command_pb2.Command]) -> list[cardbroker.Command]:
    return [_command(command) for command in commands]


def _command(command: command_pb2.Command) -> cardbroker.Command:
    going_on: Arguments = {
        "continue_on": [
            (pattern.value, pattern.mask) if pattern.HasField("mask") else pattern.value
            for pattern in command.continue_on
        ],
        "stop_rule": word(command, "stop_rule"),
    }
    if command.HasField("control"):
        return cardbroker.Command.control(command.control.code, command.control.data, **going_on)
    if command.HasField("get_attribute"):
        return cardbroker.Command.get_attribute(command.get_attribute.tag, **going_on)
    if command.HasField("set_attribute"):
        return cardbroker.Command.set_attribute(command.set_attribute.tag, command.set_attribute.value, **going_on)
    if command.HasField("pin_pad"):
        return _pin_pad(command.pin_pad, going_on)
    apdu = command.apdu
    return cardbroker.Command(
        apdu.bytes,
        raw=apdu.raw,
        continue_class=apdu.continue_class if apdu.HasField("continue_class") else None,
        continue_instruction=apdu.continue_instruction,
        allow_last_try=apdu.allow_last_try,
        allow_known_wrong=apdu.allow_known_wrong,
        **going_on,
    )


def _pin_pad(pad: command_pb2.PinPadCommand, going_on: Arguments) -> cardbroker.Command:
    operation: Any = word(pad, "operation")
    encoding: Any = word(pad, "encoding")
    return cardbroker.Command.pin_pad(
        pad.template,
        operation,
        encoding=encoding,
        pin_offset=pad.pin_offset,
        pin_block_length=pad.pin_block_length,
        min_digits=pad.min_digits,
        max_digits=pad.max_digits,
        key_timeout=_seconds(pad.key_timeout) if pad.HasField("key_timeout") else None,
        **going_on,
    )


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def _given(arguments: Arguments) -> Arguments:
    return {key: value for key, value in arguments.items() if value is not None}
