"""The contract's enums as short words: `READER_STATE_READY` is `"READY"`. Unknown values keep their number."""

from __future__ import annotations

from typing import Any

from cardbroker.v1 import command_pb2, error_pb2, reader_pb2, turn_pb2


class Words:
    """The values of one enum."""

    def __init__(self, enum: Any, prefix: str) -> None:  # noqa: ANN401
        """Takes the generated enum and the common prefix of its names."""
        self._enum = enum
        self._prefix = prefix

    def of(self, number: int) -> str | None:
        """The word for a number; `None` for 0, the number as text for a value of a newer contract."""
        if number == 0:
            return None
        try:
            return str(self._enum.Name(number)).removeprefix(self._prefix)
        except ValueError:
            return str(number)

    def number(self, word: str | None) -> int:
        """The number for a word, 0 for `None`; raises a `ValueError` that lists the known words."""
        if word is None:
            return 0
        try:
            return int(self._enum.Value(self._prefix + word))
        except ValueError:
            known = ", ".join(name.removeprefix(self._prefix) for name in self._enum.keys()[1:])
            raise ValueError(f'"{word}" is none of {known}') from None


CARD = Words(turn_pb2.CardRequirement, "CARD_REQUIREMENT_")
CARD_RESET = Words(turn_pb2.CardReset, "CARD_RESET_")
CAUSE = Words(error_pb2.RevocationCause, "REVOCATION_CAUSE_")
DISPOSITION = Words(turn_pb2.Disposition, "DISPOSITION_")
PIN_ENCODING = Words(command_pb2.PinEncoding, "PIN_ENCODING_")
PIN_PAD_OPERATION = Words(command_pb2.PinPadOperation, "PIN_PAD_OPERATION_")
PROTOCOL = Words(reader_pb2.CardProtocol, "CARD_PROTOCOL_")
REASON = Words(error_pb2.ErrorReason, "ERROR_REASON_")
READER_STATE = Words(reader_pb2.ReaderState, "READER_STATE_")
STATUS_WORD_SOURCE = Words(command_pb2.StatusWordSource, "STATUS_WORD_SOURCE_")
STOP_RULE = Words(command_pb2.StopRule, "STOP_RULE_")
