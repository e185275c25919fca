"""The client for asyncio: its connection to the broker, its queries and its units."""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc

from cardbroker import _process
from cardbroker._broker import Broker
from cardbroker._command import CommandLike
from cardbroker._endpoint import Endpoint
from cardbroker._errors import CardbrokerError, ended_here, is_lost
from cardbroker._options import Opening, SessionOptions, TransmitOptions
from cardbroker._reader import Reader, ReaderLike
from cardbroker._response import Transmitted
from cardbroker._settings import Settings
from cardbroker._steps import Outcome, Step, Steps, get_broker, get_reader, list_readers, resolve
from cardbroker._unit import unit
from cardbroker.aio._rpc import of_rpc_error
from cardbroker.aio._session import OpenSession
from cardbroker.aio._turns import TurnWatch
from cardbroker.aio._watch import Watch
from cardbroker.aio._wire import Wire

if TYPE_CHECKING:
    from typing_extensions import Unpack

_T = TypeVar("_T")


async def connect(
    endpoint: str | None = None,
    *,
    group: str | None = None,
    token_file: os.PathLike[str] | str | None = None,
    connect_timeout: float = 5.0,
) -> Client:
    """Connects to the broker, with the arguments and errors of `cardbroker.connect`.

    In a process that was forked after a use of `cardbroker.aio` it raises `FailedError` at once.
    """
    if _process.is_child():
        raise _process.no_asyncio()
    client = Client(Settings.of(endpoint, group, token_file, connect_timeout, os.environ))
    await client._wire.reach(connect_timeout)
    return client


class Client:
    """A connection to the broker, made by `connect`, for one event loop. It reconnects after a loss.

    A reader may be given as a `Reader`, as `readers/{id}`, by its id or by its display name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = Wire(settings)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the broker."""
        return self._wire.endpoint

    async def broker(self) -> Broker:
        """The broker's version and limits, and this program's caller identity. Joins the isolation group."""
        return await self._run(get_broker())

    async def readers(self) -> list[Reader]:
        """All readers that this program may see, ordered by name."""
        return await self._run(list_readers())

    async def reader(self, reader: ReaderLike) -> Reader:
        """The current state of one reader; raises `FailedError` (READER_NOT_FOUND) if it does not exist."""
        return await self._run(get_reader(reader))

    async def transmit(
        self, reader: ReaderLike, *commands: CommandLike, **options: Unpack[TransmitOptions]
    ) -> Transmitted:
        """Runs commands as one unit; see `cardbroker.Client.transmit`.

        A cancelled call leaves the queue if it still waits; a unit that has begun runs to its end.
        """
        return await self._run(unit(reader, commands, time.monotonic, **options))

    def session(self, reader: ReaderLike, **options: Unpack[SessionOptions]) -> OpenSession:
        """A session with the reader's card, opened by `async with`; see `cardbroker.Client.session`."""
        opening = Opening.of(**options)
        return OpenSession(self._wire, self._settings, lambda end: self._run(resolve(reader, end)), opening)

    def watch(self) -> Watch:
        """Follows all readers; reconnects after a loss."""
        return Watch(self._wire, self._settings)

    async def watch_turn(self, reader: ReaderLike | None = None) -> TurnWatch:
        """Follows this program's waiting requests, at one reader or at all."""
        name = "" if reader is None else await self._run(resolve(reader))
        return TurnWatch(await self._wire.reach(self._settings.connect_timeout), name)

    async def close(self) -> None:
        """Closes the connection. Its running calls fail."""
        await self._wire.close()

    async def _run(self, steps: Steps[_T]) -> _T:
        outcome: Outcome | None = None
        try:
            while True:
                step = next(steps) if outcome is None else steps.send(outcome)
                await asyncio.sleep(step.pause)
                outcome = await self._take(step)
        except StopIteration as done:
            result: _T = done.value
            return result

    async def _take(self, step: Step) -> Outcome:
        outcome = await self._try(step)
        if step.is_query and isinstance(outcome, Exception) and is_lost(outcome):
            return await self._try(step)
        return outcome

    async def _try(self, step: Step) -> Outcome:
        try:
            timeout = min(self._settings.connect_timeout, step.latest - time.monotonic())
            line = await self._wire.reach(timeout, min(step.end, step.latest))
            call = getattr(line.stub, step.method)
            answer: Outcome = await call(step.request, timeout=step.timeout(time.monotonic()), metadata=line.metadata)
            return answer
        except CardbrokerError as error:
            return error
        except grpc.aio.AioRpcError as error:
            failure = of_rpc_error(error)
            return ended_here(failure) if self._wire.is_closed else failure

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoint}>"
