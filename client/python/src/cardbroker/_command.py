"""Commands: one APDU each, and how a unit goes on after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from google.protobuf.duration_pb2 import Duration

from cardbroker._errors import invalid
from cardbroker.v1 import transmit_pb2

MAX_COMMANDS = 64
MIN_APDU_BYTES = 4
MAX_APDU_BYTES = 65_544
MAX_MESSAGE_BYTES = 1 << 20


class Command:
    """A command APDU and how the unit goes on after it. Where the defaults do, the APDU's `bytes` will do as well."""

    def __init__(
        self, apdu: bytes, *, continue_on: Iterable[tuple[int, int]] = (), continue_instruction: int = 0
    ) -> None:
        """Makes a command.

        The unit goes on after 9000, 61xx, 62xx and 63xx, not after 63Cx; with `continue_on` instead after status words
        that agree with one of these values in all bits of its mask, at most 16 of them. The rest of an answer is
        fetched after 61xx by `continue_instruction`; 0 means 0xC0, GET RESPONSE.
        """
        if not isinstance(apdu, (bytes, bytearray, memoryview)):
            raise TypeError(f"an APDU is bytes, not {type(apdu).__name__}")
        self.apdu = bytes(apdu)
        self.continue_on = tuple(continue_on)
        self.continue_instruction = continue_instruction

    def __repr__(self) -> str:
        return f"Command({len(self.apdu)} bytes)"


CommandLike = Union[Command, bytes]
"""What can be sent: an APDU, or a `Command` that says more."""


def to_wire(commands: Iterable[CommandLike]) -> list[transmit_pb2.Command]:
    """The commands of one unit as they go to the broker, refused if the broker would refuse their number or lengths."""
    wire = [_to_wire(index, command) for index, command in enumerate(commands)]
    if not 1 <= len(wire) <= MAX_COMMANDS:
        raise invalid("commands", f"{len(wire)} commands: a unit has 1 to {MAX_COMMANDS}")
    return wire


def check_length(bytes_count: int) -> None:
    """Refuses a message that is too long for the broker."""
    if bytes_count > MAX_MESSAGE_BYTES:
        raise invalid("commands", "the commands together are longer than 1 MiB: send fewer in one unit")


def duration(seconds: float) -> Duration:
    """Seconds as they go to the broker."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def seconds(message: Duration) -> float:
    """Seconds as they come from the broker."""
    return message.ToNanoseconds() / 1e9


def _to_wire(index: int, command: CommandLike) -> transmit_pb2.Command:
    command = command if isinstance(command, Command) else Command(command)
    length = len(command.apdu)
    if not MIN_APDU_BYTES <= length <= MAX_APDU_BYTES:
        message = f"command {index + 1}: {length} bytes: an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}"
        raise invalid(f"commands[{index}].apdu", message)
    patterns = (transmit_pb2.StatusWordPattern(value=value, mask=mask) for value, mask in command.continue_on)
    return transmit_pb2.Command(
        apdu=command.apdu, continue_on=patterns, continue_instruction=command.continue_instruction
    )
