"""Commands for a card or its reader, and the rule by which a unit continues after each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Union

from cardbroker._errors import InvalidError
from cardbroker._times import optional_duration
from cardbroker._words import PIN_ENCODING, PIN_PAD_OPERATION, STOP_RULE, Words
from cardbroker.v1 import command_pb2

MAX_COMMANDS = 64
MIN_APDU_BYTES = 4
MAX_APDU_BYTES = 65_544
MAX_RAW_BYTES = 65_548
MAX_MESSAGE_BYTES = 1 << 20

StopRule = Literal["SIM", "ANY", "ONLY_9000"]
"""The status words that let a unit continue, instead of those of ISO 7816-4; see the contract's `StopRule`."""

StatusWords = Iterable[Union[int, tuple[int, int]]]
"""Status words, each as a number or as a value and the mask of its significant bits."""

Bytes = Union[bytes, bytearray, memoryview]


class Command:
    """A command APDU and its options. An APDU with the default options may be given as plain `bytes`.

    The class methods make commands for the reader; current brokers answer them with NOT_IMPLEMENTED.
    """

    def __init__(
        self,
        apdu: Bytes,
        *,
        raw: bool = False,
        continue_class: int | None = None,
        continue_instruction: int = 0,
        allow_last_try: bool = False,
        allow_known_wrong: bool = False,
        continue_on: StatusWords = (),
        stop_rule: StopRule | None = None,
    ) -> None:
        """Makes a command that sends an APDU.

        Args:
            apdu: 4-65,544 bytes, short or extended; with `raw` 1-65,548 bytes of any structure.
            raw: Send the bytes exactly as given and return the answer unchanged: no GET RESPONSE, no correction of Le,
                no conversion for T=0.
            continue_class: The class of the GET RESPONSEs after 61xx, 0-255. Default: as the contract defines.
            continue_instruction: The instruction that fetches the rest of an answer after 61xx, 1-255; 0 means 0xC0.
            allow_last_try: Send a PIN although one try is left, on a reader where the broker guards the last try.
            allow_known_wrong: Send a PIN although this card has refused it already; needs `guard_override`.
            continue_on: The unit continues after these status words only; at most 16.
            stop_rule: The status words that let the unit continue if `continue_on` is empty. Default: 9000, 9100, 91AF,
                9Fxx, 61xx, 62xx and 63xx, but not 6300 and 63Cx.
        """
        if not isinstance(apdu, (bytes, bytearray, memoryview)):
            raise TypeError(f"an APDU is bytes, not {type(apdu).__name__}")
        self._wire = _going_on(continue_on, stop_rule)
        action = self._wire.apdu
        action.bytes = bytes(apdu)
        action.raw = raw
        with _refused("continue_class"):
            if continue_class is not None:
                action.continue_class = continue_class
            action.continue_instruction = continue_instruction
        action.allow_last_try = allow_last_try
        action.allow_known_wrong = allow_known_wrong

    @classmethod
    def control(
        cls, code: int, data: Bytes = b"", *, continue_on: StatusWords = (), stop_rule: StopRule | None = None
    ) -> Command:
        """A control code of the platform's PC/SC for the reader or its driver, with at most 65,548 bytes of data."""
        wire = _going_on(continue_on, stop_rule)
        with _refused("control.code"):
            wire.control.CopyFrom(command_pb2.ControlCommand(code=code, data=bytes(data)))
        return cls._of(wire)

    @classmethod
    def get_attribute(cls, tag: int, *, continue_on: StatusWords = (), stop_rule: StopRule | None = None) -> Command:
        """Reads the reader's attribute with this tag (PC/SC part 3)."""
        wire = _going_on(continue_on, stop_rule)
        with _refused("get_attribute.tag"):
            wire.get_attribute.CopyFrom(command_pb2.GetAttribute(tag=tag))
        return cls._of(wire)

    @classmethod
    def set_attribute(
        cls, tag: int, value: Bytes, *, continue_on: StatusWords = (), stop_rule: StopRule | None = None
    ) -> Command:
        """Sets the reader's attribute with this tag (PC/SC part 3) to at most 65,548 bytes."""
        wire = _going_on(continue_on, stop_rule)
        with _refused("set_attribute.tag"):
            wire.set_attribute.CopyFrom(command_pb2.SetAttribute(tag=tag, value=bytes(value)))
        return cls._of(wire)

    @classmethod
    def pin_pad(
        cls,
        template: Bytes,
        operation: Literal["VERIFY", "MODIFY"],
        *,
        encoding: Literal["ASCII", "BCD"] | None = None,
        pin_offset: int = 0,
        pin_block_length: int = 0,
        min_digits: int = 0,
        max_digits: int = 0,
        key_timeout: float | None = None,
        continue_on: StatusWords = (),
        stop_rule: StopRule | None = None,
    ) -> Command:
        """Reads a PIN at the reader's own keys and sends it to the card in place of the template's filler bytes.

        Offset and length are in bytes, the time between keys in seconds; 0 and `None` select the reader's default.
        """
        wire = _going_on(continue_on, stop_rule)
        with _refused("pin_pad"):
            wire.pin_pad.CopyFrom(
                command_pb2.PinPadCommand(
                    template=bytes(template),
                    operation=number(PIN_PAD_OPERATION, operation, "pin_pad.operation"),  # type: ignore[arg-type]
                    encoding=number(PIN_ENCODING, encoding, "pin_pad.encoding"),  # type: ignore[arg-type]
                    pin_offset=pin_offset,
                    pin_block_length=pin_block_length,
                    min_digits=min_digits,
                    max_digits=max_digits,
                    key_timeout=optional_duration(key_timeout),
                )
            )
        return cls._of(wire)

    @classmethod
    def _of(cls, wire: command_pb2.Command) -> Command:
        command = cls.__new__(cls)
        command._wire = wire
        return command

    def __repr__(self) -> str:
        # Not even the number of bytes, which may tell the length of a PIN.
        return f"Command({self._wire.WhichOneof('action')})"


CommandLike = Union[Command, bytes]
"""A command of a unit: the bytes of an APDU, or a `Command`."""


def to_wire(commands: Iterable[CommandLike]) -> list[command_pb2.Command]:
    """Converts the commands of one unit; refuses a number or a length that the broker would refuse."""
    wire = [_to_wire(index, command) for index, command in enumerate(commands)]
    if not 1 <= len(wire) <= MAX_COMMANDS:
        raise InvalidError("commands", f"{len(wire)} commands: a unit has 1 to {MAX_COMMANDS}")
    return wire


def check_length(bytes_count: int) -> None:
    """Refuses a message that is too long for the broker."""
    if bytes_count > MAX_MESSAGE_BYTES:
        raise InvalidError("commands", "the commands together are longer than 1 MiB: send fewer in one unit")


def number(words: Words, word: str | None, field: str) -> int:
    """The contract's number for a word; raises `InvalidError` if there is none."""
    try:
        return words.number(word)
    except ValueError as error:
        raise InvalidError(field, f"{field}: {error}") from None


def _to_wire(index: int, command: CommandLike) -> command_pb2.Command:
    wire = (command if isinstance(command, Command) else Command(command))._wire
    if wire.HasField("apdu"):
        length = len(wire.apdu.bytes)
        least, most = (1, MAX_RAW_BYTES) if wire.apdu.raw else (MIN_APDU_BYTES, MAX_APDU_BYTES)
        if not least <= length <= most:
            what = "raw bytes are" if wire.apdu.raw else "an APDU has"
            message = f"command {index + 1}: {length} bytes: {what} {least} to {most}"
            raise InvalidError(f"commands[{index}].apdu.bytes", message)
    return wire


def _going_on(continue_on: StatusWords, stop_rule: str | None) -> command_pb2.Command:
    wire = command_pb2.Command(stop_rule=number(STOP_RULE, stop_rule, "stop_rule"))  # type: ignore[arg-type]
    with _refused("continue_on"):
        for words in continue_on:
            value, mask = words if isinstance(words, tuple) else (words, None)
            wire.continue_on.add(value=value, mask=mask)
    return wire


class _refused:  # noqa: N801
    """Turns a number that does not fit into its field of the contract into an `InvalidError`."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ValueError) and not isinstance(error, InvalidError):
            raise InvalidError(self._field, f"{self._field}: {error}") from None
