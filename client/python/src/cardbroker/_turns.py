"""The watch of this program's waiting requests."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import grpc

from cardbroker import _process
from cardbroker._broker import WaitingTurn, waiting_turns
from cardbroker._channel import Line
from cardbroker._errors import lost, of_query
from cardbroker._rpc import of_rpc_error
from cardbroker._silence import Alarm
from cardbroker._watching import SILENCE_LIMIT
from cardbroker.v1 import turn_pb2


class TurnWatch(Iterator["list[WaitingTurn]"]):
    """All waiting requests of this program, at once and after each change; made by `Client.watch_turn`.

    Raises the failure when the stream is lost, because the waiting requests are then lost too. Heartbeats are no
    events; 90 s of silence count as a loss. For one thread, but every thread may `close`.
    """

    def __init__(self, line: Line, reader: str) -> None:
        request = turn_pb2.WatchTurnRequest(reader=reader)
        self._call: Any = line.stub.WatchTurn(request, metadata=line.metadata)
        self._is_closed = False
        self._is_parents = False
        _process.register(self)
        _process.on_stream(self._call)

    def close(self) -> None:
        """Ends the iteration, also while another thread waits in it."""
        self._is_closed = True
        if not self._is_parents:
            self._call.cancel()

    def on_fork(self) -> None:
        """Leaves the stream to the parent."""
        _process.keep(self._call)
        self._is_parents = True

    def __next__(self) -> list[WaitingTurn]:
        if self._is_parents:
            raise _process.belongs_to_parent("watch")
        while not self._is_closed:
            alarm = Alarm(self._call.cancel, SILENCE_LIMIT)
            alarm.set()
            try:
                waiting = waiting_turns(next(self._call))
            except StopIteration:
                raise lost("the broker ended the watch").not_sent() from None
            except grpc.RpcError as error:
                if self._is_closed:
                    break
                failure = lost("the broker fell silent") if alarm.has_rung else of_rpc_error(error)
                raise of_query(failure) from error
            finally:
                alarm.stop()
            if waiting is not None:
                return waiting
        raise StopIteration

    def __enter__(self) -> TurnWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
