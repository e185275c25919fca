"""The connection to the broker, and the calls that need no more than it."""

from __future__ import annotations

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
from cardbroker._rpc import of_rpc_error
from cardbroker._session import OpenSession
from cardbroker._unit import Attempt, Outcome, unit
from cardbroker._watch import Watch
from cardbroker.v1 import reader_pb2
from cardbroker.v1.service_pb2_grpc import CardBrokerServiceStub

if TYPE_CHECKING:
    from typing_extensions import Unpack


def connect(
    endpoint: str | None = None,
    *,
    group: str | None = None,
    token_file: os.PathLike[str] | str | None = None,
    connect_timeout: float = 5.0,
) -> Client:
    """Connects to the broker.

    Args:
        endpoint: `unix:/path` or `http://127.0.0.1:port`; else as `CARDBROKER_ENDPOINT` says, else the default socket.
        group: The key of the isolation group, printable ASCII; else that in `CARDBROKER_GROUP`. Without one (`""`) this
            process is a group of its own.
        token_file: The file of the token for an `http://` endpoint; else the one that `CARDBROKER_TOKEN_FILE` names.
        connect_timeout: How long one attempt to connect may take, in seconds.

    Raises:
        EndpointError: The endpoint is none.
        NotRunningError: Nobody answers there in time.
        FailedError: The group is not printable ASCII, or the token cannot be read.
    """
    settings = Settings.of(endpoint, group, token_file, connect_timeout, os.environ)
    settings.metadata()
    _channel.probe(settings.endpoint, settings.connect_timeout)
    return Client(settings)


class Client:
    """A connection to the broker, made by `connect`. May be shared by threads; a lost connection is made anew."""

    def __init__(self, settings: Settings) -> None:
        where = settings.endpoint
        self._settings = settings
        self._channel = grpc.insecure_channel(where.target, _channel.options(where, settings.connect_timeout))
        self._stub = CardBrokerServiceStub(self._channel)

    @property
    def endpoint(self) -> Endpoint:
        """Where the broker is."""
        return self._settings.endpoint

    def readers(self) -> list[Reader]:
        """All readers that this program may see, ordered by name."""
        request = reader_pb2.ListReadersRequest()
        try:
            answer = self._stub.ListReaders(request, timeout=_channel.QUERY_TIMEOUT, metadata=self._settings.metadata())
        except grpc.RpcError as error:
            raise of_query(of_rpc_error(self.endpoint, error)) from error
        return [reader(message) for message in answer.readers]

    def transmit(self, reader: str, *commands: CommandLike, **options: Unpack[TransmitOptions]) -> Transmitted:
        """Runs 1-64 commands on the card in `readers/{id}` as one unit: no other caller's command falls between them.

        The keywords are those of `TransmitOptions`.

        Raises:
            StoppedError: Some commands were answered but not all.
            FailedError: None was, or no answer arrived.
            NotRunningError: The broker is gone; nothing was sent.
        """
        attempts = unit(reader, commands, time.monotonic, **options)
        attempt = next(attempts)
        while True:
            time.sleep(attempt.pause)
            try:
                attempt = attempts.send(self._attempt(attempt))
            except StopIteration as done:
                outcome: Transmitted = done.value
                return outcome

    def session(self, reader: str, **options: Unpack[SessionOptions]) -> OpenSession:
        """A session with the card in `readers/{id}`, opened by `with`.

        The keywords are those of `SessionOptions`.
        """
        return OpenSession(self._stub, self._settings, Opening.of(reader, **options))

    def watch(self) -> Watch:
        """Follows all readers, through losses of the connection."""
        return Watch(self._stub, self._settings)

    def close(self) -> None:
        """Closes the connection. What is under way on it fails."""
        self._channel.close()

    def _attempt(self, attempt: Attempt) -> Outcome:
        try:
            metadata = self._settings.metadata()
            return self._stub.Transmit(attempt.request, timeout=attempt.deadline, metadata=metadata)
        except CardbrokerError as error:
            return error
        except grpc.RpcError as error:
            return of_rpc_error(self.endpoint, error)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoint}>"
