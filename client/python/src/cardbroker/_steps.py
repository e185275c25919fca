"""Unary calls as steps that the shells with and without asyncio run. No I/O."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar, Union

from cardbroker._broker import Broker, broker
from cardbroker._errors import CardbrokerError, of_query, too_late
from cardbroker._reader import Reader, ReaderLike, name_among, name_of, reader
from cardbroker.v1 import broker_pb2, reader_pb2, transmit_pb2

QUERY_TIMEOUT = 10.0
"""The longest time for a query, in seconds: the broker answers queries from memory, so a slower one is stuck."""

Request = Union[
    broker_pb2.GetBrokerRequest,
    reader_pb2.ListReadersRequest,
    reader_pb2.GetReaderRequest,
    transmit_pb2.TransmitRequest,
]
Response = Union[
    broker_pb2.GetBrokerResponse,
    reader_pb2.ListReadersResponse,
    reader_pb2.GetReaderResponse,
    transmit_pb2.TransmitResponse,
]


@dataclass(frozen=True)
class Step:
    """One call, after an optional pause."""

    request: Request
    pause: float = 0.0
    """The pause before the call, in seconds."""
    end: float = math.inf
    """The deadline on the clock, which also bounds the wait for the broker."""
    latest: float = math.inf
    """The latest start, on the clock."""

    @property
    def is_query(self) -> bool:
        """Whether the call has no commands, so that a repeat after a lost connection is safe."""
        return not isinstance(self.request, transmit_pb2.TransmitRequest)

    def timeout(self, now: float) -> float:
        """The time limit of a call that begins now, in seconds; raises if the deadline has passed."""
        left = self.end - now
        if left <= 0 or now > self.latest:
            raise too_late()
        return min(left, QUERY_TIMEOUT) if self.is_query else left

    @property
    def method(self) -> str:
        """The name of the RPC, which is also the stub's attribute."""
        return type(self.request).__name__.removesuffix("Request")


Outcome = Union[Response, CardbrokerError]
_T = TypeVar("_T")
Steps = Generator[Step, Outcome, _T]
"""Yields calls, receives the outcome of each, and returns or raises the result."""


def get_broker(end: float = math.inf) -> Steps[Broker]:
    """The steps of `Client.broker`."""
    answer = yield Step(broker_pb2.GetBrokerRequest(), end=end)
    return broker(believed(answer, broker_pb2.GetBrokerResponse))


def list_readers() -> Steps[list[Reader]]:
    """The steps of `Client.readers`."""
    answer = yield Step(reader_pb2.ListReadersRequest())
    return [reader(message) for message in believed(answer, reader_pb2.ListReadersResponse).readers]


def get_reader(given: ReaderLike, end: float = math.inf) -> Steps[Reader]:
    """The steps of `Client.reader`."""
    name = yield from resolve(given, end)
    answer = yield Step(reader_pb2.GetReaderRequest(name=name), end=end)
    return reader(believed(answer, reader_pb2.GetReaderResponse).reader)


def resolve(given: ReaderLike, end: float = math.inf) -> Steps[str]:
    """Finds the resource name of a reader; lists all readers to resolve a display name."""
    name = name_of(given)
    if name is not None:
        return name
    answer = yield Step(reader_pb2.ListReadersRequest(), end=end)
    return name_among(str(given), believed(answer, reader_pb2.ListReadersResponse).readers)


_R = TypeVar("_R", broker_pb2.GetBrokerResponse, reader_pb2.ListReadersResponse, reader_pb2.GetReaderResponse)


def believed(outcome: Outcome, kind: type[_R]) -> _R:
    """The answer to a query; raises its failure."""
    if isinstance(outcome, CardbrokerError):
        raise of_query(outcome)
    assert isinstance(outcome, kind)
    return outcome
