"""The client: its connection to the broker, its queries and its units."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc

from cardbroker import _channel
from cardbroker._broker import Broker
from cardbroker._command import CommandLike
from cardbroker._endpoint import Endpoint
from cardbroker._errors import CardbrokerError, ended_here, is_lost
from cardbroker._options import Opening, SessionOptions, TransmitOptions
from cardbroker._reader import Reader, ReaderLike
from cardbroker._response import Transmitted
from cardbroker._rpc import of_rpc_error
from cardbroker._session import OpenSession
from cardbroker._settings import Settings
from cardbroker._steps import Outcome, Step, Steps, get_broker, get_reader, list_readers, resolve
from cardbroker._turns import TurnWatch
from cardbroker._unit import unit
from cardbroker._watch import Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

_T = TypeVar("_T")


def connect(
    endpoint: str | None = None,
    *,
    group: str | None = None,
    token_file: os.PathLike[str] | str | None = None,
    connect_timeout: float = 5.0,
) -> Client:
    """Connects to the broker; waits for one that is still starting.

    Without an endpoint it takes the first default place that works, and stays with it: the user's socket, then the
    system's. These are used only if no other user decides what is there.

    Args:
        endpoint: `unix:/path`, `https://127.0.0.1:port`, or `tcp:auto` for the port in the endpoint file of this user's
            broker; else `CARDBROKER_ENDPOINT`, else the default places.
        group: The key of the isolation group, 1-128 visible ASCII characters; else `CARDBROKER_GROUP`. With `""` this
            process is a group of its own.
        token_file: The token file for a TCP endpoint; else `CARDBROKER_TOKEN_FILE`. `tcp:auto` needs none.
        connect_timeout: The longest wait for a broker that is away, in seconds, here and at every later call. One
            attempt to connect gets at least 1 s.

    Raises:
        EndpointError: The text is not an endpoint.
        NotRunningError: No broker answers there in time, or this user may not open or cannot trust its socket.
        InvalidError: The group cannot be sent, or the token cannot be read.
    """
    client = Client(Settings.of(endpoint, group, token_file, connect_timeout, os.environ))
    client._wire.reach(connect_timeout)
    return client


class Client:
    """A connection to the broker, made by `connect`. Threads may share it; it reconnects after a loss.

    A forked child may use an inherited client: the child gets a connection of its own, through a helper process,
    because gRPC does not survive a fork. For the broker the helper process is the caller.

    A reader may be given as a `Reader`, as `readers/{id}`, by its id or by its display name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = _channel.Wire(settings)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the broker."""
        return self._wire.endpoint

    def broker(self) -> Broker:
        """The broker's version and limits, and this program's caller identity. Joins the isolation group."""
        return self._run(get_broker())

    def readers(self) -> list[Reader]:
        """All readers that this program may see, ordered by name."""
        return self._run(list_readers())

    def reader(self, reader: ReaderLike) -> Reader:
        """The current state of one reader; raises `FailedError` (READER_NOT_FOUND) if it does not exist."""
        return self._run(get_reader(reader))

    def transmit(self, reader: ReaderLike, *commands: CommandLike, **options: Unpack[TransmitOptions]) -> Transmitted:
        """Runs 1-64 commands on the reader's card as one unit: no other caller's command runs between them.

        The keywords are the fields of `TransmitOptions`.

        Raises:
            StoppedError: The unit ended early; some commands may have answers.
            FailedError: The unit did not run, or its answer did not arrive.
            InvalidError: The request breaks a rule of the contract; nothing was sent.
            NotRunningError: The broker is gone; nothing was sent.
        """
        return self._run(unit(reader, commands, time.monotonic, **options))

    def session(self, reader: ReaderLike, **options: Unpack[SessionOptions]) -> OpenSession:
        """A session with the reader's card, opened by `with`.

        The keywords are the fields of `SessionOptions`.
        """
        opening = Opening.of(**options)
        return OpenSession(self._wire, self._settings, lambda end: self._run(resolve(reader, end)), opening)

    def watch(self) -> Watch:
        """Follows all readers; reconnects after a loss."""
        return Watch(self._wire, self._settings)

    def watch_turn(self, reader: ReaderLike | None = None) -> TurnWatch:
        """Follows this program's waiting requests, at one reader or at all."""
        name = "" if reader is None else self._run(resolve(reader))
        return TurnWatch(self._wire.reach(self._settings.connect_timeout), name)

    def close(self) -> None:
        """Closes the connection. Its running calls fail."""
        self._wire.close()

    def _run(self, steps: Steps[_T]) -> _T:
        outcome: Outcome | None = None
        try:
            while True:
                step = next(steps) if outcome is None else steps.send(outcome)
                time.sleep(step.pause)
                outcome = self._take(step)
        except StopIteration as done:
            result: _T = done.value
            return result

    def _take(self, step: Step) -> Outcome:
        outcome = self._try(step)
        return self._try(step) if step.is_query and isinstance(outcome, Exception) and is_lost(outcome) else outcome

    def _try(self, step: Step) -> Outcome:
        try:
            timeout = min(self._settings.connect_timeout, step.latest - time.monotonic())
            line = self._wire.reach(timeout, min(step.end, step.latest))
            call = getattr(line.stub, step.method)
            answer: Outcome = call(step.request, timeout=step.timeout(time.monotonic()), metadata=line.metadata)
            return answer
        except CardbrokerError as error:
            return error
        except grpc.RpcError as error:
            failure = of_rpc_error(error)
            return ended_here(failure) if self._wire.is_closed else failure

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
