"""The Python client of Cardbroker: lists readers, runs APDUs on their cards as units and follows readers and cards.

`connect` returns a `Client`; `cardbroker.aio` has the same for asyncio, `cardbroker.pyscard` lets programs written for
pyscard use the broker. All times are seconds; the values of the contract's enums are words without their prefix
(`"READY"`).
"""

from cardbroker import _process  # noqa: F401 (before anything imports gRPC)
from cardbroker._broker import Broker, Caller, Holder, Limits, WaitingTurn
from cardbroker._client import Client, connect
from cardbroker._command import Command, StopRule
from cardbroker._endpoint import ENDPOINT_VARIABLE, Endpoint
from cardbroker._errors import (
    CardbrokerError,
    Delivery,
    EndpointError,
    FailedError,
    Failure,
    FieldViolation,
    InvalidError,
)
from cardbroker._meaning import meaning
from cardbroker._options import CardRequirement, CardReset, Disposition, SessionOptions, TransmitOptions, TurnOptions
from cardbroker._reader import Reader, ReaderLike
from cardbroker._response import CommandResult, StoppedError, Transmitted
from cardbroker._session import OpenSession, Pending, Session
from cardbroker._settings import GROUP_METADATA, GROUP_VARIABLE, TOKEN_FILE_VARIABLE
from cardbroker._turns import TurnWatch
from cardbroker._waiting import NotRunningError
from cardbroker._watch import Watch
from cardbroker._watching import Connected, Disconnected, Removed, Updated, WatchEvent

__all__ = [
    "ENDPOINT_VARIABLE",
    "GROUP_METADATA",
    "GROUP_VARIABLE",
    "TOKEN_FILE_VARIABLE",
    "Broker",
    "Caller",
    "CardRequirement",
    "CardReset",
    "CardbrokerError",
    "Client",
    "Command",
    "CommandResult",
    "Connected",
    "Delivery",
    "Disconnected",
    "Disposition",
    "Endpoint",
    "EndpointError",
    "FailedError",
    "Failure",
    "FieldViolation",
    "Holder",
    "InvalidError",
    "Limits",
    "NotRunningError",
    "OpenSession",
    "Pending",
    "Reader",
    "ReaderLike",
    "Removed",
    "Session",
    "SessionOptions",
    "StopRule",
    "StoppedError",
    "TransmitOptions",
    "Transmitted",
    "TurnOptions",
    "TurnWatch",
    "Updated",
    "WaitingTurn",
    "Watch",
    "WatchEvent",
    "connect",
    "meaning",
]
