"""The connection to the broker for asyncio, and the calls that need no more than it."""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from cardbroker import _channel
from cardbroker._command import CommandLike
from cardbroker._endpoint import Endpoint, Settings
from cardbroker._errors import CardbrokerError, of_query
from cardbroker._options import Opening, SessionOptions, TransmitOptions
from cardbroker._response import Reader, Transmitted, reader
from cardbroker._unit import Attempt, Outcome, unit
from cardbroker.aio._rpc import of_rpc_error
from cardbroker.aio._session import OpenSession
from cardbroker.aio._watch import Watch
from cardbroker.v1 import reader_pb2
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

if TYPE_CHECKING:
    from typing_extensions import Unpack


async def connect(
    endpoint: str | None = None,
    *,
    group: str | None = None,
    token_file: os.PathLike[str] | str | None = None,
    connect_timeout: float = 5.0,
) -> Client:
    """Connects to the broker, with the arguments and errors of `cardbroker.connect`."""
    settings = Settings.of(endpoint, group, token_file, connect_timeout, os.environ)
    settings.metadata()
    await asyncio.to_thread(_channel.probe, settings.endpoint, settings.connect_timeout)
    return Client(settings)


class Client:
    """A connection to the broker, made by `connect`, for one event loop. A lost connection is made anew."""

    def __init__(self, settings: Settings) -> None:
        where = settings.endpoint
        self._settings = settings
        self._channel = grpc.aio.insecure_channel(where.target, _channel.options(where, settings.connect_timeout))
        self._stub = CardBrokerServiceStub(self._channel)

    @property
    def endpoint(self) -> Endpoint:
        """Where the broker is."""
        return self._settings.endpoint

    async def readers(self) -> list[Reader]:
        """All readers that this program may see, ordered by name."""
        request = reader_pb2.ListReadersRequest()
        try:
            answer = await self._stub.ListReaders(
                request, timeout=_channel.QUERY_TIMEOUT, metadata=self._settings.metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise of_query(of_rpc_error(self.endpoint, error)) from error
        return [reader(message) for message in answer.readers]

    async def transmit(self, reader: str, *commands: CommandLike, **options: Unpack[TransmitOptions]) -> Transmitted:
        """Runs commands as one unit; see `cardbroker.Client.transmit`.

        A call that is cancelled leaves the queue if it still waits there; a unit that has begun runs to its end.
        """
        attempts = unit(reader, commands, time.monotonic, **options)
        attempt = next(attempts)
        while True:
            await asyncio.sleep(attempt.pause)
            try:
                attempt = attempts.send(await self._attempt(attempt))
            except StopIteration as done:
                outcome: Transmitted = done.value
                return outcome

    def session(self, reader: str, **options: Unpack[SessionOptions]) -> OpenSession:
        """A session with the card in `readers/{id}`, opened by `async with`; see `cardbroker.Client.session`."""
        return OpenSession(self._stub, self._settings, Opening.of(reader, **options))

    def watch(self) -> Watch:
        """Follows all readers, through losses of the connection."""
        return Watch(self._stub, self._settings)

    async def close(self) -> None:
        """Closes the connection. What is under way on it fails."""
        await self._channel.close()

    async def _attempt(self, attempt: Attempt) -> Outcome:
        try:
            metadata = self._settings.metadata()
            return await self._stub.Transmit(attempt.request, timeout=attempt.deadline, metadata=metadata)
        except CardbrokerError as error:
            return error
        except grpc.aio.AioRpcError as error:
            return of_rpc_error(self.endpoint, error)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoint}>"
