"""What can go wrong, as exceptions: each says whether a command may have reached the card. No text holds APDU bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Delivery = Literal["NOT_SENT", "UNKNOWN", "EXECUTED"]
"""Whether a command may have reached the card: never; perhaps; it ran, and its answer is missing."""

_PERMANENT = {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request that breaks a rule of the contract."""

    field: str
    """The field's path in the request: `commands[3].apdu.bytes`."""
    description: str
    """The rule that it breaks, for people."""


@dataclass(frozen=True)
class Failure:
    """Why something failed. The same whether a call, a unit or a message of a session did."""

    message: str
    """What happened and what to do next, for people: one line."""
    reason: str | None = None
    """An `ErrorReason` of the contract without its prefix (`"NO_CARD"`), its number as text if this client does not
    know it; `None` where the broker has given none."""
    delivery: Delivery = "UNKNOWN"
    """`"NOT_SENT"`: repeating is safe. `"UNKNOWN"`: a command may have run whose answer did not come. `"EXECUTED"`: it
    has run, and those behind it were not sent; a repeat under the same `request_id` is told the same."""
    code: str = "UNKNOWN"
    """The name of the gRPC status code: `"UNAVAILABLE"`; its number as text if there is none."""
    retry_after: float | None = None
    """How long to wait before a retry, in seconds; `None` where waiting does not help or a retry is not safe."""
    rule: str | None = None
    """The policy's rule that forbids the request, if one does."""
    cause: str | None = None
    """With LEASE_REVOKED: IDLE, TOO_LONG, RULES_CHANGED or RELEASED."""
    field_violations: tuple[FieldViolation, ...] = ()
    """With INVALID_REQUEST: the fields that are at fault."""
    reader: str | None = None
    """The reader concerned: `readers/{id}`."""

    @property
    def is_permanent(self) -> bool:
        """Whether the same request will fail again however often it is repeated."""
        return self.code in _PERMANENT

    def not_sent(self) -> Failure:
        """The same failure, told to somebody whose commands did not leave this program."""
        return dataclasses.replace(self, delivery="NOT_SENT")


class CardbrokerError(Exception):
    """A request that did not do all that was asked. What `failure` holds can be read from the error itself, too."""

    def __init__(self, failure: Failure, text: str | None = None) -> None:
        super().__init__(failure.message if text is None else text)
        self.failure = failure

    @property
    def message(self) -> str:
        """See `Failure.message`."""
        return self.failure.message

    @property
    def reason(self) -> str | None:
        """See `Failure.reason`."""
        return self.failure.reason

    @property
    def delivery(self) -> Delivery:
        """See `Failure.delivery`."""
        return self.failure.delivery

    @property
    def code(self) -> str:
        """See `Failure.code`."""
        return self.failure.code

    @property
    def retry_after(self) -> float | None:
        """See `Failure.retry_after`; seconds."""
        return self.failure.retry_after

    @property
    def rule(self) -> str | None:
        """See `Failure.rule`."""
        return self.failure.rule

    @property
    def cause(self) -> str | None:
        """See `Failure.cause`."""
        return self.failure.cause

    @property
    def field_violations(self) -> tuple[FieldViolation, ...]:
        """See `Failure.field_violations`."""
        return self.failure.field_violations

    @property
    def reader(self) -> str | None:
        """See `Failure.reader`."""
        return self.failure.reader

    @property
    def is_permanent(self) -> bool:
        """See `Failure.is_permanent`."""
        return self.failure.is_permanent


class InvalidError(CardbrokerError, ValueError):
    """A request that breaks a rule, noticed in this program: nothing was sent."""

    def __init__(self, field: str, message: str) -> None:
        violations = (FieldViolation(field, message),)
        super().__init__(
            Failure(message, "INVALID_REQUEST", "NOT_SENT", "INVALID_ARGUMENT", field_violations=violations)
        )


class EndpointError(InvalidError):
    """The text that should say where the broker is does not."""

    def __init__(self, text: str) -> None:
        super().__init__("endpoint", f'"{text}" is not an endpoint: use unix:/path or http://127.0.0.1:port')


class FailedError(CardbrokerError):
    """The broker refused or failed, or its answer did not arrive. No answer of a card is known."""

    def __init__(self, failure: Failure, *, is_word: bool = False, is_own: bool = False) -> None:
        super().__init__(failure)
        self._is_word = is_word
        """Whether the broker itself has said it."""
        self._is_own = is_own
        """Whether this program itself has ended the call."""

    def not_sent(self) -> FailedError:
        """The same failure, told to somebody whose commands did not leave this program."""
        return FailedError(self.failure.not_sent(), is_word=self._is_word, is_own=self._is_own)


def of_query(error: CardbrokerError) -> CardbrokerError:
    """The failure of a call that carries no commands: nothing was sent, unless the broker itself says otherwise."""
    return error.not_sent() if isinstance(error, FailedError) and not error._is_word else error


def lost(message: str) -> FailedError:
    """The connection is gone, or the broker does not keep to the contract."""
    return FailedError(Failure(message, code="UNAVAILABLE"))


def is_lost(error: CardbrokerError) -> bool:
    """Whether the connection broke before the broker's word came, and not by this program's own will."""
    broken = ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED")
    return isinstance(error, FailedError) and error.code in broken and not (error._is_word or error._is_own)


def is_word(error: CardbrokerError) -> bool:
    """Whether the broker itself has said it."""
    return isinstance(error, FailedError) and error._is_word


def ended_here(error: CardbrokerError) -> CardbrokerError:
    """The failure of a call that this program has ended, for instance by closing the client."""
    return FailedError(error.failure, is_own=True) if isinstance(error, FailedError) and not error._is_word else error


def too_late() -> FailedError:
    """The time of the call, or of a repeat, was over before it began."""
    message = "the call's deadline passed before it began"
    return FailedError(Failure(message, delivery="NOT_SENT", code="DEADLINE_EXCEEDED"), is_own=True)
