"""The state of a session: its unanswered messages, its failures and its end. No I/O; the shells own the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from cardbroker._command import CommandLike, check_length, number, to_wire
from cardbroker._errors import CardbrokerError, FailedError, lost, of_query
from cardbroker._pipeline import Pipeline
from cardbroker._response import Transmitted, session_transmitted
from cardbroker._status import of_failure
from cardbroker._times import seconds
from cardbroker._words import CARD_RESET
from cardbroker.v1 import session_pb2

MAX_PIPELINED = 32
"""The largest number of unanswered messages in a session."""

HEARTBEAT_INTERVAL = 30.0
"""The pause after the last message before the client sends a heartbeat, in seconds."""

_ENVELOPE_BYTES = 32
"""The largest size of the id, `restart` and their framing in a message, in bytes."""


@dataclass(frozen=True)
class Reply:
    """The answer to a message, or its failure."""

    outcome: session_pb2.OpenSessionResponse | CardbrokerError
    failure_count: int
    """The failure count that the receiver of this reply knows of."""


class Waiter(Protocol):
    """The waiter for a reply: a future with or without asyncio."""

    def done(self) -> bool: ...

    def set_result(self, result: Reply, /) -> None: ...


class Conversation:
    """The state that a session's stream has reported. Needs a lock of its owner if threads share it."""

    def __init__(self, on_queue_position: Callable[[int], None]) -> None:
        self.opened: session_pb2.SessionOpened | None = None
        self.waiters = 0
        self.ended: CardbrokerError | None = None
        """The failure of every further message; `None` while the stream is open."""
        self.closing = False
        self._on_queue_position = on_queue_position
        self._pipeline: Pipeline[Waiter] = Pipeline()
        self._known_failure_count = 0
        """The count of failures that callers have received."""
        self._written_id = 0
        """The id of the latest message that may have left this program."""

    @property
    def known_failure_count(self) -> int:
        """The count of failures that callers have received; read it when a call begins."""
        return self._known_failure_count

    @property
    def unanswered_count(self) -> int:
        """The number of messages without an answer."""
        return len(self._pipeline)

    def send(
        self,
        request: session_pb2.OpenSessionRequest,
        known_failure_count: int,
        waiter: Waiter,
        restart: bool | None = None,
    ) -> None:
        """Gives a message its id and adds it to the pipeline; raises the session's failure after its end."""
        if self.ended:
            raise self.ended
        if self.closing:
            raise lost("the session was closed").not_sent()
        message_id, request.restart = self._pipeline.send(known_failure_count, waiter, restart)
        (request.reset if request.HasField("reset") else request.transmit).id = message_id

    def on_write(self, request: session_pb2.OpenSessionRequest) -> None:
        """Records that a message leaves this program."""
        self._written_id = max(self._written_id, request.transmit.id, request.reset.id)

    def take(self, response: session_pb2.OpenSessionResponse) -> bool:
        """Processes a message of the broker; returns whether it is an answer. Raises if it breaks the contract."""
        kind = response.WhichOneof("response")
        if kind == "transmitted":
            return self._answer(response.transmitted.id, None, response)
        if kind == "reset_done":
            return self._answer(response.reset_done.id, None, response)
        if kind == "failed":
            failure = FailedError(of_failure(response.failed.failure))
            return self._answer(response.failed.id, failure.reason or "", failure)
        if kind == "waiters":
            self.waiters = response.waiters.caller_count
        elif kind == "queue_position":
            self._on_queue_position(response.queue_position.turns_ahead_count)
        elif kind == "opened":
            self.opened = response.opened
        return False

    def end(self, error: CardbrokerError | None) -> CardbrokerError | None:
        """Ends the conversation and fails all waiters. Returns the failure for the caller that opens or closes it.

        The delivery of the broker's final status applies to the written messages. Without one they may have run.
        """
        unanswered = self._pipeline.drain()
        if error is None and (unanswered or not self.closing):
            error = lost("the broker ended the session" + ("" if self.opened else " before it was open"))
        last_word = error or lost("the session was closed")
        self.ended = last_word.not_sent() if isinstance(last_word, FailedError) else last_word
        for place, (message_id, waiter) in enumerate(unanswered):
            # With EXECUTED only the first message ran; the messages behind it did not reach the card.
            has_run = message_id <= self._written_id and not (place and last_word.delivery == "EXECUTED")
            _settle(waiter, Reply(last_word if error and has_run else self.ended, 0))
        return error and of_query(error)

    def outcome(self, reply: Reply) -> session_pb2.OpenSessionResponse:
        """The answer to a caller's message; raises its failure."""
        self._known_failure_count = max(self._known_failure_count, reply.failure_count)
        if isinstance(reply.outcome, CardbrokerError):
            raise reply.outcome
        return reply.outcome

    def _answer(
        self, message_id: int, reason: str | None, outcome: session_pb2.OpenSessionResponse | CardbrokerError
    ) -> bool:
        answered = self._pipeline.answer(message_id, reason)
        if answered is None:
            raise lost("the broker answered out of order")
        waiter, failure_count = answered
        _settle(waiter, Reply(outcome, failure_count))
        return True


class SessionView:
    """The properties of a session, common to both kinds of clients."""

    def __init__(self, conversation: Conversation, opened: session_pb2.SessionOpened) -> None:
        self._conversation = conversation
        self._opened = opened

    @property
    def insertion_id(self) -> str:
        """The insertion at the session's opening."""
        return self._opened.insertion_id

    @property
    def state_tag(self) -> str:
        """The state tag at the start of the session."""
        return self._opened.state_tag

    @property
    def atr(self) -> bytes:
        """The card's answer to reset at the start of the session."""
        return self._opened.atr

    @property
    def queue_duration(self) -> float:
        """The time that the session waited for its turn, in seconds."""
        return seconds(self._opened.queue_duration)

    @property
    def was_reset(self) -> bool:
        """Whether the card was reset between the previous turn and this one, or at the start of this one."""
        return self._opened.was_reset

    @property
    def waiters(self) -> int:
        """The number of callers that wait for the card, as last reported by the broker."""
        return self._conversation.waiters

    @property
    def is_open(self) -> bool:
        """Whether calls can still succeed, as far as this program knows."""
        return self._conversation.ended is None and not self._conversation.closing

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'open' if self.is_open else 'ended'}>"


def heartbeat() -> session_pb2.OpenSessionRequest:
    """Makes a heartbeat with the current time."""
    request = session_pb2.OpenSessionRequest(heartbeat=session_pb2.SessionHeartbeat())
    request.heartbeat.send_time.GetCurrentTime()
    return request


def transmit_request(commands: Iterable[CommandLike]) -> session_pb2.OpenSessionRequest:
    """Makes a message with commands, without its id."""
    request = session_pb2.OpenSessionRequest(transmit=session_pb2.SessionTransmit(commands=to_wire(commands)))
    check_length(request.ByteSize() + _ENVELOPE_BYTES)
    return request


def reset_request(reset: str) -> session_pb2.OpenSessionRequest:
    """Makes a message for a reset, without its id."""
    wanted = number(CARD_RESET, reset, "reset.reset")
    return session_pb2.OpenSessionRequest(reset=session_pb2.SessionReset(reset=wanted))  # type: ignore[arg-type]


def transmitted_of(response: session_pb2.OpenSessionResponse, insertion_id: str) -> Transmitted:
    """Reads the answer to commands; raises `StoppedError` if they ended early."""
    if not response.HasField("transmitted"):
        raise _other_answer()
    return session_transmitted(response.transmitted, insertion_id)


def atr_of(response: session_pb2.OpenSessionResponse) -> bytes:
    """Reads the answer to reset from a `reset_done`."""
    if not response.HasField("reset_done"):
        raise _other_answer()
    return response.reset_done.atr


def _other_answer() -> FailedError:
    return lost("the broker sent another answer than the request needs")


def _settle(waiter: Waiter, reply: Reply) -> None:
    # A cancelled waiter needs no answer.
    if not waiter.done():
        waiter.set_result(reply)
