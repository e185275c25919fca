"""Reads a `Failure` from the end of a call, a `stopped` and a failure within a session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional, Union

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from cardbroker._errors import Delivery, FailedError, Failure, FieldViolation
from cardbroker._times import seconds
from cardbroker._words import CAUSE, REASON
from cardbroker.v1 import error_pb2

ERROR_DOMAIN = "cardbroker"
REASON_TRAILER = "cardbroker-reason"
DELIVERY_TRAILER = "cardbroker-delivery"

_DETAILS_TRAILER = "grpc-status-details-bin"
_CODES: Mapping[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
_DELIVERIES: Mapping[int, Delivery] = {
    error_pb2.DELIVERY_NOT_SENT: "NOT_SENT",
    error_pb2.DELIVERY_UNKNOWN: "UNKNOWN",
    error_pb2.DELIVERY_EXECUTED: "EXECUTED",
}
_DELIVERY_WORDS: Mapping[str, Delivery] = {"not_sent": "NOT_SENT", "unknown": "UNKNOWN", "executed": "EXECUTED"}

Trailers = Optional[Iterable[tuple[str, Union[str, bytes]]]]


def of_failure(failure: error_pb2.Failure, code: str = "UNKNOWN", message: str = "") -> Failure:
    """Converts a failure of the contract; `code` and `message` come from the status around it, if there is one."""
    return Failure(
        message=failure.message or message,
        reason=REASON.of(failure.reason),
        delivery=_DELIVERIES.get(failure.delivery, "UNKNOWN"),
        code=_CODES.get(failure.code, str(failure.code)) if failure.code else code,
        retry_after=seconds(failure.retry_after) if failure.HasField("retry_after") else None,
        rule=failure.rule or None,
        cause=CAUSE.of(failure.cause),
        field_violations=tuple(FieldViolation(each.field, each.description) for each in failure.field_violations),
        reader=failure.reader or None,
        tries_left=failure.tries_left if failure.HasField("tries_left") else None,
    )


def of_status(code: grpc.StatusCode, details: str | None, trailers: Trailers) -> FailedError:
    """The failure of a call that ended with this gRPC status."""
    values = dict(trailers or ())
    details = details or ""
    packed = values.get(_DETAILS_TRAILER)
    status = _parsed(packed if isinstance(packed, bytes) else b"")
    failure = _own(status, code, details) or _general(status, values, code, details)
    if failure:
        return FailedError(failure, is_reported=True)
    return FailedError(Failure(_transport_message(code, details), delivery="UNKNOWN", code=code.name))


def _parsed(packed: bytes) -> error_pb2.StatusDetails:
    try:
        return error_pb2.StatusDetails.FromString(packed)
    except DecodeError:  # The details come from a proxy or a library.
        return error_pb2.StatusDetails()


def _own(status: error_pb2.StatusDetails, code: grpc.StatusCode, details: str) -> Failure | None:
    """Reads the contract's own detail, `Failure`."""
    failure = error_pb2.Failure()
    return of_failure(failure, code.name, details) if _unpack(status, failure) else None


def _general(
    status: error_pb2.StatusDetails, values: Mapping[str, str | bytes], code: grpc.StatusCode, details: str
) -> Failure | None:
    """Reads the standard details (ErrorInfo and its like), and the plain trailers for values that those lack."""
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    if not _unpack(status, info) or info.domain != ERROR_DOMAIN:
        info.Clear()
    reason = info.reason or _text(values, REASON_TRAILER)
    delivery = info.metadata.get("delivery", "") or _text(values, DELIVERY_TRAILER)
    if not reason and not delivery:
        return None
    has_retry = _unpack(status, retry)
    _unpack(status, bad)
    return Failure(
        message=details,
        reason=reason or None,
        delivery=_DELIVERY_WORDS.get(delivery, "UNKNOWN"),
        code=code.name,
        retry_after=seconds(retry.retry_delay) if has_retry else None,
        rule=info.metadata.get("rule") or None,
        field_violations=tuple(FieldViolation(each.field, each.description) for each in bad.field_violations),
        reader=info.metadata.get("reader") or None,
    )


def _text(values: Mapping[str, str | bytes], trailer: str) -> str:
    value = values.get(trailer)
    return value if isinstance(value, str) else ""


def _unpack(
    status: error_pb2.StatusDetails,
    into: error_pb2.Failure | error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest,
) -> bool:
    try:
        return any(detail.Unpack(into) for detail in status.details)
    except DecodeError:
        into.Clear()
        return False


def _transport_message(code: grpc.StatusCode, details: str) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "the call's deadline passed without an answer"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "the server at the endpoint is not cardbrokerd, or an older version"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
        return f"the connection to the broker was lost ({details})"
    return f"{code.name} ({details})"
