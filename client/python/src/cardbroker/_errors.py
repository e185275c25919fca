"""What can go wrong, as exceptions: each says whether a command may have reached the card. No text holds APDU bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Optional, Union

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from cardbroker._endpoint import Endpoint
    from cardbroker._response import Transmitted

Delivery = Literal["not_sent", "unknown"]
"""Whether a command may have reached the card: never, or perhaps."""

ERROR_DOMAIN = "cardbroker"
REASON_TRAILER = "cardbroker-reason"
DELIVERY_TRAILER = "cardbroker-delivery"

_DETAILS_TRAILER = "grpc-status-details-bin"
_PERMANENT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class CardbrokerError(Exception):
    """A request that did not do all that was asked."""

    reason: str | None = None
    """The broker's reason, an `ErrorReason` of the contract without its prefix (`"NO_CARD"`), if it gave one."""

    delivery: Delivery = "not_sent"
    """`"not_sent"`: repeating is safe. `"unknown"`: a command may have run whose answer did not come."""

    retry_after: float | None = None
    """When to try again, in seconds, if that helps."""

    is_permanent: bool = False
    """Whether the same request will fail again however often it is repeated."""


class EndpointError(CardbrokerError, ValueError):
    """The text that should say where the broker is does not."""

    is_permanent = True

    def __init__(self, text: str) -> None:
        super().__init__(f'"{text}" is not an endpoint: use unix:/path or http://127.0.0.1:port')


class NotRunningError(CardbrokerError):
    """Nobody answers at the endpoint, or this user may not open it. Nothing was sent."""

    def __init__(self, endpoint: Endpoint, why: str) -> None:
        if os.strerror(errno.EACCES) in why:
            text = f"no permission to open {endpoint}"
        elif os.strerror(errno.ENOENT) in why or os.strerror(errno.ECONNREFUSED) in why:
            text = f"no broker at {endpoint}"
        else:
            text = f"no broker at {endpoint} ({why})"
        super().__init__(text)
        self.endpoint = endpoint


class FailedError(CardbrokerError):
    """The broker refused or failed, or its answer did not arrive. No answer of a card is known."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        delivery: Delivery = "unknown",
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        retry_after: float | None = None,
        reader: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.delivery = delivery
        self.code = code
        """The gRPC code; UNKNOWN for a failure within a session, where none is told."""
        self.retry_after = retry_after
        self.reader = reader
        """The reader concerned: `readers/{id}`."""
        self.field = field
        """The field of the request that is at fault (`commands[3].apdu`)."""
        self.is_permanent = code in _PERMANENT

    def not_sent(self) -> FailedError:
        """The same failure, told to somebody whose commands did not leave this program."""
        return FailedError(
            self.message,
            reason=self.reason,
            code=self.code,
            retry_after=self.retry_after,
            reader=self.reader,
            field=self.field,
            delivery="not_sent",
        )


class StoppedError(CardbrokerError):
    """The unit ended before its last command was answered; what was answered is in `partial`."""

    def __init__(self, stop: Stop, partial: Transmitted) -> None:
        super().__init__(f"stopped at command {stop.index + 1}: {stop.message}")
        self.stop = stop
        self.partial = partial
        self.reason = stop.reason
        self.delivery = stop.delivery


@dataclass(frozen=True)
class Stop:
    """Where and why a unit ended before its last command was answered."""

    index: int
    """The first command, counted from 0, that has no complete answer."""
    reason: str | None
    """Why, as `CardbrokerError.reason`."""
    delivery: Delivery
    """Whether the command at `index` may have reached the card."""
    message: str
    """Why, for people: one line."""


Trailers = Optional[Iterable[tuple[str, Union[str, bytes]]]]


def of_status(endpoint: Endpoint, code: grpc.StatusCode, details: str | None, trailers: Trailers) -> CardbrokerError:
    """The failure of a call that gRPC ended with this status."""
    told = dict(trailers or ())
    info, retry, violation = _details(told.get(_DETAILS_TRAILER, b""))
    reason = (info.reason if info else None) or _text(told.get(REASON_TRAILER))
    word = (info.metadata.get("delivery") if info else None) or _text(told.get(DELIVERY_TRAILER))
    details = details or ""
    if not reason and not word and code is grpc.StatusCode.UNAVAILABLE and details.startswith("failed to connect"):
        return NotRunningError(endpoint, details)
    return FailedError(
        details if reason or word else _message_without_word(code, details),
        reason=reason,
        delivery=_delivery(word) if word else _delivery_without_word(code),
        code=code,
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
        reader=(info.metadata.get("reader") if info else None),
        field=violation,
    )


def of_query(error: CardbrokerError) -> CardbrokerError:
    """The failure of a call that carries no commands."""
    return error.not_sent() if isinstance(error, FailedError) else error


def invalid(field: str, message: str) -> FailedError:
    """A request that breaks a rule of the contract, noticed before it was sent."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    return FailedError(message, reason="INVALID_REQUEST", delivery="not_sent", code=code, field=field)


def lost(message: str) -> FailedError:
    """The connection is gone, or the broker does not keep to the contract."""
    return FailedError(message, code=grpc.StatusCode.UNAVAILABLE)


def is_lost(error: CardbrokerError) -> bool:
    """Whether the connection broke before the broker's word came."""
    broken = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
    return isinstance(error, FailedError) and error.code in broken and not error.reason and error.delivery == "unknown"


def _details(
    packed: str | bytes,
) -> tuple[error_details_pb2.ErrorInfo | None, error_details_pb2.RetryInfo | None, str | None]:
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    found: dict[str, bool] = {}
    status = status_pb2.Status()
    try:
        status.ParseFromString(packed if isinstance(packed, bytes) else b"")
        for detail in status.details:
            for kind in (info, retry, bad):
                if detail.TypeName() == kind.DESCRIPTOR.full_name:
                    found[kind.DESCRIPTOR.name] = detail.Unpack(kind)
    except DecodeError:  # Not the broker's.
        return None, None, None
    violation = bad.field_violations[0].field if bad.field_violations else None
    ours = found.get("ErrorInfo") and info.domain == ERROR_DOMAIN
    return (info if ours else None), (retry if found.get("RetryInfo") else None), violation


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None


def _delivery(word: str) -> Delivery:
    return "not_sent" if word == "not_sent" else "unknown"


def _delivery_without_word(code: grpc.StatusCode) -> Delivery:
    # UNIMPLEMENTED comes before any handler.
    return "not_sent" if code is grpc.StatusCode.UNIMPLEMENTED else "unknown"


def _message_without_word(code: grpc.StatusCode, details: str) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "the call's deadline passed without an answer"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "what answers at the endpoint is no Cardbroker, or an older one"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
        return f"the connection to the broker was lost ({details})"
    return f"{code.name} ({details})"
