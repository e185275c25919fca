"""The Python client of Cardbroker: find readers, run APDUs on their cards as units, follow what happens to them.

`connect` gives a `Client`; `cardbroker.aio` has the same for asyncio, `cardbroker.pyscard` lets programs written for
pyscard use the broker. All times are seconds.
"""

from cardbroker._client import Client, connect
from cardbroker._command import Command
from cardbroker._endpoint import (
    ENDPOINT_VARIABLE,
    GROUP_METADATA,
    GROUP_VARIABLE,
    TOKEN_FILE_VARIABLE,
    Endpoint,
)
from cardbroker._errors import (
    CardbrokerError,
    Delivery,
    EndpointError,
    FailedError,
    NotRunningError,
    Stop,
    StoppedError,
)
from cardbroker._options import SessionOptions, TransmitOptions
from cardbroker._response import CommandResult, Reader, Transmitted
from cardbroker._session import OpenSession, Session
from cardbroker._watch import Watch
from cardbroker._watching import Connected, Disconnected, Removed, Updated, WatchEvent

__all__ = [
    "ENDPOINT_VARIABLE",
    "GROUP_METADATA",
    "GROUP_VARIABLE",
    "TOKEN_FILE_VARIABLE",
    "CardbrokerError",
    "Client",
    "Command",
    "CommandResult",
    "Connected",
    "Delivery",
    "Disconnected",
    "Endpoint",
    "EndpointError",
    "FailedError",
    "NotRunningError",
    "OpenSession",
    "Reader",
    "Removed",
    "Session",
    "SessionOptions",
    "Stop",
    "StoppedError",
    "TransmitOptions",
    "Transmitted",
    "Updated",
    "Watch",
    "WatchEvent",
    "connect",
]
