"""Sessions for asyncio. A session's task reads the stream; callers send through a queue that grpcio drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Callable, Literal

import grpc

from cardbroker import _process
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
from cardbroker._settings import Settings
from cardbroker._times import CARD_TIME
from cardbroker._watching import SILENCE_LIMIT
from cardbroker.aio._rpc import of_rpc_error
from cardbroker.aio._wire import Line, Wire
from cardbroker.v1 import session_pb2


class OpenSession:
    """A session that is not open yet, made by `Client.session`; `async with` opens and closes it."""

    def __init__(
        self, wire: Wire, settings: Settings, resolve: Callable[[float], Awaitable[str]], opening: Opening
    ) -> None:
        self._wire = wire
        self._settings = settings
        self._resolve = resolve
        self._opening = opening
        self._session: Session | None = None

    async def open(self) -> Session:
        """Waits for the turn and takes the lease. Raises a `CardbrokerError` (NOT_SENT) if that fails."""
        end = time.monotonic() + self._opening.limit
        self._opening.request.open.reader = await self._resolve(end)
        stream = _Stream(await self._wire.reach(self._settings.connect_timeout, end), self._opening)
        try:
            opened = await asyncio.wait_for(stream.opened, max(end - time.monotonic(), 0))
        except asyncio.TimeoutError:
            stream.abort()
            raise lost("the broker did not open the session in time").not_sent() from None
        except BaseException:
            stream.abort()
            raise
        return Session(stream, opened)

    async def __aenter__(self) -> Session:
        self._session = await self.open()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is None or session._stream.is_parents:
            return
        if error is None:
            await session.close()
        else:
            session.abort()


class Session(SessionView):
    """An exclusive lease on a card; see `cardbroker.Session`, with tasks in place of threads."""

    def __init__(self, stream: _Stream, opened: session_pb2.SessionOpened) -> None:
        super().__init__(stream.conversation, opened)
        self._stream = stream

    async def transmit(self, *commands: CommandLike, restart: bool | None = None) -> Transmitted:
        """Runs 1-64 commands, in order, up to the first stop; see `cardbroker.Session.transmit`.

        Cancelling the call does not take back a message that has left this program.
        """
        return transmitted_of(await self._stream.call(transmit_request(commands), restart), self.insertion_id)

    async def reset(self, kind: Literal["WARM", "COLD"] = "WARM", *, restart: bool | None = None) -> bytes:
        """Resets the card; COLD cuts its power. Returns the new answer to reset, which may differ from the last one."""
        return atr_of(await self._stream.call(reset_request(kind), restart))

    async def close(self) -> None:
        """Ends the session in order: sent messages are answered, then the card is treated by `disposition`.

        Returns when the broker has confirmed it. Raises the session's failure if it ended in another way.
        """
        await self._stream.close()

    def abort(self) -> None:
        """Ends the session at once: waiting messages are not sent, the running command finishes, the card is reset."""
        self._stream.abort()

    def __del__(self) -> None:
        if stream := getattr(self, "_stream", None):
            stream.abort()


class _Stream:
    """The stream and its task. The session that owns it aborts it; the broker may end it too."""

    def __init__(self, line: Line, opening: Opening) -> None:
        loop = asyncio.get_running_loop()
        self.conversation = Conversation(opening.on_queue_position)
        self.opened: asyncio.Future[session_pb2.SessionOpened] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        # The futures may never be awaited; this marks their exceptions as retrieved.
        for future in (self.opened, self._ended):
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._slots = asyncio.Semaphore(MAX_PIPELINED)
        self._outgoing: asyncio.Queue[session_pb2.OpenSessionRequest | None] = asyncio.Queue()
        self._outgoing.put_nowait(opening.request)
        self._call = line.stub.OpenSession(
            _until_none(self._outgoing, self.conversation.on_write), metadata=line.metadata
        )
        self.is_parents = False
        """Whether this is a child's copy of its parent's session."""
        _process.register(self)
        self._heard = loop.time()
        self._is_silent = False
        self._alarm = loop.call_later(SILENCE_LIMIT, self._on_alarm)
        self._task = loop.create_task(self._run(), name="cardbroker-session")

    async def call(
        self, request: session_pb2.OpenSessionRequest, restart: bool | None
    ) -> session_pb2.OpenSessionResponse:
        if self.is_parents and self.conversation.ended:
            raise self.conversation.ended
        known_failure_count = self.conversation.known_failure_count
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        await self._slots.acquire()
        try:
            self.conversation.send(request, known_failure_count, answer, restart)
        except CardbrokerError:
            self._slots.release()
            raise
        self._outgoing.put_nowait(request)
        return self.conversation.outcome(await answer)

    async def close(self) -> None:
        if self.is_parents and self.conversation.ended:
            raise self.conversation.ended
        self.conversation.closing = True
        self._outgoing.put_nowait(None)
        while True:
            try:
                return await asyncio.wait_for(asyncio.shield(self._ended), CARD_TIME)
            except asyncio.TimeoutError:
                if self.conversation.unanswered_count == 0:
                    self.abort()
                    raise lost("the broker did not end the session in time").not_sent() from None

    def abort(self) -> None:
        if not self.is_parents:
            self._call.cancel()

    def on_fork(self) -> None:
        _process.keep(self._call)
        self.is_parents = True
        self.conversation.ended = _process.belongs_to_parent("session")

    async def _run(self) -> None:
        error: CardbrokerError | None = None
        try:
            async for response in self._call:
                self._heard = asyncio.get_running_loop().time()
                self._take(response)
        except grpc.aio.AioRpcError as failure:
            error = of_rpc_error(failure)
        except Exception as failure:
            # A message against the contract, or an exception of `on_queue_position`: all waiters must fail.
            error = failure if isinstance(failure, FailedError) else lost(f"the session failed: {failure!r}")
            self._call.cancel()
        except asyncio.CancelledError:
            # Cancelled by `abort` or by the end of the event loop.
            error = lost("the broker fell silent" if self._is_silent else "the session was ended")
            self._call.cancel()
        finally:
            self._alarm.cancel()
        self._end(error)

    def _on_alarm(self) -> None:
        """Ends a stream whose broker has been silent for too long."""
        loop = asyncio.get_running_loop()
        rest = self._heard + SILENCE_LIMIT - loop.time()
        if rest > 0:
            self._alarm = loop.call_later(rest, self._on_alarm)
        else:
            self._is_silent = True
            self._call.cancel()

    def _take(self, response: session_pb2.OpenSessionResponse) -> None:
        if self.conversation.take(response):
            self._slots.release()
        elif self.conversation.opened and not self.opened.done():
            self.opened.set_result(self.conversation.opened)

    def _end(self, error: CardbrokerError | None) -> None:
        failure = self.conversation.end(error)
        self._outgoing.put_nowait(None)
        for _ in range(MAX_PIPELINED):
            self._slots.release()
        if not self.opened.done():
            self.opened.set_exception(of_query(failure or lost("the session was closed")))
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)


async def _until_none(
    queue: asyncio.Queue[session_pb2.OpenSessionRequest | None],
    on_write: Callable[[session_pb2.OpenSessionRequest], None],
    interval: float = HEARTBEAT_INTERVAL,
) -> AsyncIterator[session_pb2.OpenSessionRequest]:
    """The messages for grpcio, with heartbeats between them; the end of the iteration is the half-close."""
    while True:
        try:
            request = await asyncio.wait_for(queue.get(), interval)
        except asyncio.TimeoutError:
            request = heartbeat()
        if request is None:
            return
        on_write(request)
        yield request
