"""The exceptions of this client: each has a delivery and a reason. No text holds APDU bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Delivery = Literal["NOT_SENT", "UNKNOWN", "EXECUTED"]
"""Whether a command may have reached the card: none did; one may have; it ran, and its answer is missing."""

_PERMANENT = {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request that breaks a rule of the contract."""

    field: str
    """The field's path in the request: `commands[3].apdu.bytes`."""
    description: str
    """The broken rule, for people."""


@dataclass(frozen=True)
class Failure:
    """The details of a failure, the same for a call, a unit and a message of a session."""

    message: str
    """The problem and the next step, for people, in one line."""
    reason: str | None = None
    """An `ErrorReason` of the contract without its prefix (`"NO_CARD"`), or its number as text if this client does not
    know it; `None` without a reason from the broker."""
    delivery: Delivery = "UNKNOWN"
    """`"NOT_SENT"`: a repeat is safe. `"UNKNOWN"`: a command without an answer may have run. `"EXECUTED"`: that command
    ran and no later one was sent; a repeat under the same `request_id` gets the same failure."""
    code: str = "UNKNOWN"
    """The name of the gRPC status code: `"UNAVAILABLE"`; its number as text if there is none."""
    retry_after: float | None = None
    """The pause before a retry, in seconds; `None` where a pause does not help or a retry is not safe."""
    rule: str | None = None
    """The name of the policy rule that denies the request; `None` if no rule does."""
    cause: str | None = None
    """IDLE, TOO_LONG, RULES_CHANGED or RELEASED; only with LEASE_REVOKED."""
    field_violations: tuple[FieldViolation, ...] = ()
    """The fields that break a rule of the contract; only with INVALID_REQUEST."""
    reader: str | None = None
    """The reader concerned: `readers/{id}`."""
    tries_left: int | None = None
    """The number of tries that the card has left for the PIN, 1 to 255; only with PIN_KNOWN_WRONG, if the card has
    reported a number, and PIN_LAST_TRY."""

    @property
    def is_permanent(self) -> bool:
        """Whether every repeat of the same request fails again."""
        return self.code in _PERMANENT

    def not_sent(self) -> Failure:
        """A copy with the delivery NOT_SENT, for a caller whose commands did not leave this program."""
        return dataclasses.replace(self, delivery="NOT_SENT")


class CardbrokerError(Exception):
    """A request that failed or ran in part. The fields of `failure` are also properties of the error."""

    def __init__(self, failure: Failure, text: str | None = None) -> None:
        super().__init__(failure.message if text is None else text)
        self.failure = failure

    @property
    def message(self) -> str:
        """The problem and the next step, for people. See `Failure.message`."""
        return self.failure.message

    @property
    def reason(self) -> str | None:
        """The reason by its short name: `"NO_CARD"`. See `Failure.reason`."""
        return self.failure.reason

    @property
    def delivery(self) -> Delivery:
        """Whether a command may have reached the card. See `Failure.delivery`."""
        return self.failure.delivery

    @property
    def code(self) -> str:
        """The name of the gRPC status code. See `Failure.code`."""
        return self.failure.code

    @property
    def retry_after(self) -> float | None:
        """The pause before a retry, in seconds. See `Failure.retry_after`."""
        return self.failure.retry_after

    @property
    def rule(self) -> str | None:
        """The policy rule that denies the request. See `Failure.rule`."""
        return self.failure.rule

    @property
    def cause(self) -> str | None:
        """The cause of a LEASE_REVOKED. See `Failure.cause`."""
        return self.failure.cause

    @property
    def field_violations(self) -> tuple[FieldViolation, ...]:
        """The fields that break the contract. See `Failure.field_violations`."""
        return self.failure.field_violations

    @property
    def reader(self) -> str | None:
        """The reader concerned: `readers/{id}`. See `Failure.reader`."""
        return self.failure.reader

    @property
    def tries_left(self) -> int | None:
        """The tries that the card has left for a withheld PIN, if they are known. See `Failure.tries_left`."""
        return self.failure.tries_left

    @property
    def is_permanent(self) -> bool:
        """Whether every repeat fails again. See `Failure.is_permanent`."""
        return self.failure.is_permanent


class InvalidError(CardbrokerError, ValueError):
    """A request that this client refused before it sent anything."""

    def __init__(self, field: str, message: str) -> None:
        violations = (FieldViolation(field, message),)
        super().__init__(
            Failure(message, "INVALID_REQUEST", "NOT_SENT", "INVALID_ARGUMENT", field_violations=violations)
        )


class EndpointError(InvalidError):
    """A text that is not an endpoint."""

    def __init__(self, text: str) -> None:
        forms = "unix:/path, https://127.0.0.1:port or tcp:auto"
        super().__init__("endpoint", f'"{text}" is not an endpoint: use {forms}')


class FailedError(CardbrokerError):
    """The broker refused or failed, or its answer did not arrive; no card answer is known."""

    def __init__(self, failure: Failure, *, is_reported: bool = False, is_own: bool = False) -> None:
        super().__init__(failure)
        self._is_reported = is_reported
        """Whether the broker reported the failure."""
        self._is_own = is_own
        """Whether this program ended the call."""

    def not_sent(self) -> FailedError:
        """A copy with the delivery NOT_SENT, for a caller whose commands did not leave this program."""
        return FailedError(self.failure.not_sent(), is_reported=self._is_reported, is_own=self._is_own)


def of_query(error: CardbrokerError) -> CardbrokerError:
    """The failure of a call without commands: NOT_SENT, unless the broker itself reported another delivery."""
    return error.not_sent() if isinstance(error, FailedError) and not error._is_reported else error


def lost(message: str) -> FailedError:
    """The failure for a lost connection, or for a broker that breaks the contract."""
    return FailedError(Failure(message, code="UNAVAILABLE"))


def is_lost(error: CardbrokerError) -> bool:
    """Whether the connection broke before a failure came from the broker, and this program did not end the call."""
    broken = ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED")
    return isinstance(error, FailedError) and error.code in broken and not (error._is_reported or error._is_own)


def is_reported(error: CardbrokerError) -> bool:
    """Whether the broker reported the failure."""
    return isinstance(error, FailedError) and error._is_reported


def ended_here(error: CardbrokerError) -> CardbrokerError:
    """The failure of a call that this program ended, for example by closing the client."""
    if isinstance(error, FailedError) and not error._is_reported:
        return FailedError(error.failure, is_own=True)
    return error


def too_late() -> FailedError:
    """The failure for a call or repeat whose deadline passed before it began."""
    message = "the call's deadline passed before it began"
    return FailedError(Failure(message, delivery="NOT_SENT", code="DEADLINE_EXCEEDED"), is_own=True)
