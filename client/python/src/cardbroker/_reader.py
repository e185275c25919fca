"""Readers: their states, and the ways to name one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Union

from cardbroker._errors import InvalidError
from cardbroker._words import PROTOCOL, READER_STATE
from cardbroker.v1 import reader_pb2

_PREFIX = "readers/"
_ID = re.compile("[a-z0-9-]+")


@dataclass(frozen=True)
class Reader:
    """A reader, and the card in it."""

    name: str
    """The resource name: `readers/{id}`."""
    display_name: str
    """The reader's PC/SC name, for people."""
    state: str
    """EMPTY, SETTLING, READY, MUTE, HELD_ELSEWHERE, UNRESPONSIVE or UNAVAILABLE. The number of a state that this
    client does not know: the reader cannot be used now."""
    atr: bytes
    """The card's answer to reset, 2-33 bytes; empty without a card or without its answer."""
    active_protocol: str | None
    """T0, T1 or RAW; `None` unless the state is READY."""
    insertion_id: str
    """Identifies this insertion of this card; compare for equality only. Empty without a card."""
    insertion_count: int
    """The count of insertions in this reader since the broker started, for display."""


ReaderLike = Union[Reader, str]
"""A reader: a `Reader`, `readers/{id}`, the id alone, or the display name, which is looked up at the broker."""


def reader(message: reader_pb2.Reader) -> Reader:
    """Converts a reader of the contract."""
    return Reader(
        name=message.name,
        display_name=message.display_name,
        state=READER_STATE.of(message.state) or "UNSPECIFIED",
        atr=message.atr,
        active_protocol=PROTOCOL.of(message.active_protocol),
        insertion_id=message.insertion_id,
        insertion_count=message.insertion_count,
    )


def name_of(given: ReaderLike) -> str | None:
    """The resource name; `None` for a display name, which only the broker can resolve."""
    if isinstance(given, Reader):
        return given.name
    if not isinstance(given, str):
        raise TypeError(f"a reader is a Reader or its name, not {type(given).__name__}")
    if given.startswith(_PREFIX):
        return given
    return _PREFIX + given if _ID.fullmatch(given) else None


def name_among(display_name: str, readers: Iterable[reader_pb2.Reader]) -> str:
    """The resource name of the reader with that display name; raises `InvalidError` unless there is exactly one."""
    all_readers = list(readers)
    named = [each.name for each in all_readers if each.display_name == display_name]
    if len(named) == 1:
        return named[0]
    if named:
        raise InvalidError("reader", f'several readers are called "{display_name}": {", ".join(named)}')
    known = ", ".join(f'"{each.display_name}" ({each.name})' for each in all_readers) or "none"
    raise InvalidError("reader", f'no reader is called "{display_name}"; there are: {known}')
