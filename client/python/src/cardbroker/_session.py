"""Sessions: a lease on a card that lasts as long as the session's stream.

A session's thread reads the stream. Callers send through a queue that grpcio drains on a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from queue import Empty, SimpleQueue
from sys import is_finalizing
from types import TracebackType
from typing import Callable, Generic, Literal, Optional, TypeVar

import grpc

from cardbroker import _process
from cardbroker._channel import Line, Wire
from cardbroker._command import CommandLike
from cardbroker._conversation import (
    HEARTBEAT_INTERVAL,
    MAX_PIPELINED,
    Conversation,
    Reply,
    SessionView,
    atr_of,
    heartbeat,
    reset_request,
    transmit_request,
    transmitted_of,
)
from cardbroker._errors import CardbrokerError, FailedError, lost, of_query
from cardbroker._options import Opening
from cardbroker._response import Transmitted
from cardbroker._rpc import of_rpc_error
from cardbroker._settings import Settings
from cardbroker._silence import Alarm
from cardbroker._times import CARD_TIME
from cardbroker._watching import SILENCE_LIMIT
from cardbroker.v1 import session_pb2

_T = TypeVar("_T")
_Outgoing = SimpleQueue[Optional[session_pb2.OpenSessionRequest]]


class OpenSession:
    """A session that is not open yet, made by `Client.session`; `with` opens and closes it."""

    def __init__(self, wire: Wire, settings: Settings, resolve: Callable[[float], str], opening: Opening) -> None:
        self._wire = wire
        self._settings = settings
        self._resolve = resolve
        self._opening = opening
        self._session: Session | None = None

    def open(self) -> Session:
        """Waits for the turn and takes the lease. Raises a `CardbrokerError` (NOT_SENT) if that fails."""
        end = time.monotonic() + self._opening.limit
        self._opening.request.open.reader = self._resolve(end)
        stream = _Stream(self._wire.reach(self._settings.connect_timeout, end), self._opening)
        try:
            opened = stream.opened.result(max(end - time.monotonic(), 0))
        except FutureTimeout:
            stream.abort()
            raise lost("the broker did not open the session in time").not_sent() from None
        except BaseException:
            stream.abort()
            raise
        return Session(stream, opened)

    def __enter__(self) -> Session:
        self._session = self.open()
        return self._session

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is None or session._stream.is_parents:
            return
        if error is None:
            session.close()
        else:
            session.abort()


class Session(SessionView):
    """An exclusive lease on a card: no command of another caller reaches it.

    Several threads may call at once: up to 32 messages may be unanswered, and the card receives them in the order in
    which the calls began. After a failed call with `is_open` still true the session remains usable. Messages already
    sent behind the failed one fail too (NOT_SENT, PRECEDING_FAILED); the first call that begins after the failure was
    raised runs. `StoppedError` is not such a failure: the messages behind it run.
    """

    def __init__(self, stream: _Stream, opened: session_pb2.SessionOpened) -> None:
        super().__init__(stream.conversation, opened)
        self._stream = stream

    def transmit(self, *commands: CommandLike, restart: bool | None = None) -> Transmitted:
        """Runs 1-64 commands, in order, up to the first stop. Raises as `Client.transmit` does.

        With `restart` True the call runs after any failure before it, with False it fails too. By default the first
        call that begins after the failure was raised runs.
        """
        return self.submit(*commands, restart=restart).result()

    def reset(self, kind: Literal["WARM", "COLD"] = "WARM", *, restart: bool | None = None) -> bytes:
        """Resets the card; COLD cuts its power. Returns the new answer to reset, which may differ from the last one."""
        return self.submit_reset(kind, restart=restart).result()

    def submit(self, *commands: CommandLike, restart: bool | None = None) -> Pending[Transmitted]:
        """Sends as `transmit` does, without waiting for the answer; waits while 32 messages are unanswered."""
        insertion_id = self.insertion_id
        return self._stream.send(
            transmit_request(commands), restart, lambda response: transmitted_of(response, insertion_id)
        )

    def submit_reset(self, kind: Literal["WARM", "COLD"] = "WARM", *, restart: bool | None = None) -> Pending[bytes]:
        """Sends as `reset` does, without waiting for the answer; waits while 32 messages are unanswered."""
        return self._stream.send(reset_request(kind), restart, atr_of)

    def close(self) -> None:
        """Ends the session in order: sent messages are answered, then the card is treated by `disposition`.

        Returns when the broker has confirmed it. Raises the session's failure if it ended in another way.
        """
        self._stream.close()

    def abort(self) -> None:
        """Ends the session at once: waiting messages are not sent, the running command finishes, the card is reset."""
        self._stream.abort()

    def __del__(self) -> None:
        # While Python ends, a thread of grpc may hold the lock of the stream for ever. The connection ends anyway.
        if (stream := getattr(self, "_stream", None)) and not is_finalizing():
            stream.abort()


class Pending(Generic[_T]):
    """A sent message of a session, perhaps without an answer yet."""

    def __init__(
        self, stream: _Stream, answer: Future[Reply], read: Callable[[session_pb2.OpenSessionResponse], _T]
    ) -> None:
        self._stream = stream
        self._answer = answer
        self._read = read

    def done(self) -> bool:
        """Whether the answer has arrived."""
        return self._answer.done()

    def result(self) -> _T:
        """Waits for the answer and returns it, or raises the message's failure."""
        return self._read(self._stream.outcome(self._answer))


class _Stream:
    """The stream and its thread. The session that owns it aborts it; the broker may end it too."""

    def __init__(self, line: Line, opening: Opening) -> None:
        self.conversation = Conversation(opening.on_queue_position)
        self.opened: Future[session_pb2.SessionOpened] = Future()
        self.is_parents = False
        """Whether this is a child's copy of its parent's session."""
        self._ended: Future[None] = Future()
        self._lock = threading.Lock()
        """Guards the conversation and the order of the queue."""
        self._slots = threading.Semaphore(MAX_PIPELINED)
        self._outgoing: _Outgoing = SimpleQueue()
        self._outgoing.put(opening.request)
        self._call = line.stub.OpenSession(
            _until_none(self._outgoing, self.conversation.on_write), metadata=line.metadata
        )
        _process.register(self)
        _process.on_stream(self._call)
        self._alarm = Alarm(self._call.cancel, SILENCE_LIMIT)
        self._alarm.set()
        threading.Thread(target=self._run, name="cardbroker-session", daemon=True).start()

    def send(
        self,
        request: session_pb2.OpenSessionRequest,
        restart: bool | None,
        read: Callable[[session_pb2.OpenSessionResponse], _T],
    ) -> Pending[_T]:
        known_failure_count = self.conversation.known_failure_count
        answer: Future[Reply] = Future()
        self._slots.acquire()
        with self._lock:
            try:
                self.conversation.send(request, known_failure_count, answer, restart)
            except CardbrokerError:
                self._slots.release()
                raise
            self._outgoing.put(request)
        return Pending(self, answer, read)

    def outcome(self, answer: Future[Reply]) -> session_pb2.OpenSessionResponse:
        if self.is_parents and self.conversation.ended:
            raise self.conversation.ended
        reply = answer.result()
        with self._lock:
            return self.conversation.outcome(reply)

    def on_fork(self) -> None:
        _process.keep(self._call)
        self.is_parents = True
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(MAX_PIPELINED)
        self.conversation.ended = _process.belongs_to_parent("session")
        self._ended = Future()
        self._ended.set_exception(self.conversation.ended)

    def close(self) -> None:
        if not self.is_parents:
            with self._lock:
                self.conversation.closing = True
            self._outgoing.put(None)
        while True:
            try:
                return self._ended.result(CARD_TIME)
            except FutureTimeout:
                if self.conversation.unanswered_count == 0:
                    self.abort()
                    raise lost("the broker did not end the session in time").not_sent() from None

    def abort(self) -> None:
        if not self.is_parents:
            self._call.cancel()
            self._outgoing.put(None)

    def _run(self) -> None:
        error: CardbrokerError | None = None
        try:
            for response in self._call:
                self._alarm.renew()
                self._take(response)
        except grpc.RpcError as failure:
            error = lost("the broker fell silent") if self._alarm.has_rung else of_rpc_error(failure)
        except Exception as failure:
            # A message against the contract, or an exception of `on_queue_position`: all waiters must fail.
            error = failure if isinstance(failure, FailedError) else lost(f"the session failed: {failure!r}")
            self._call.cancel()
        finally:
            self._alarm.stop()
        self._end(error)

    def _take(self, response: session_pb2.OpenSessionResponse) -> None:
        with self._lock:
            answered = self.conversation.take(response)
        if answered:
            self._slots.release()
        elif self.conversation.opened and not self.opened.done():
            self.opened.set_result(self.conversation.opened)

    def _end(self, error: CardbrokerError | None) -> None:
        with self._lock:
            failure = self.conversation.end(error)
        self._outgoing.put(None)
        self._slots.release(MAX_PIPELINED)
        if not self.opened.done():
            self.opened.set_exception(of_query(failure or lost("the session was closed")))
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)


def _until_none(
    queue: _Outgoing, on_write: Callable[[session_pb2.OpenSessionRequest], None], interval: float = HEARTBEAT_INTERVAL
) -> Iterator[session_pb2.OpenSessionRequest]:
    """The messages for grpcio, with heartbeats between them; the end of the iteration is the half-close."""
    while True:
        try:
            request = queue.get(timeout=interval)
        except Empty:
            request = heartbeat()
        if request is None:
            return
        on_write(request)
        yield request
