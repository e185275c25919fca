"""A connection to the broker through a helper process, for forked children, in which gRPC does not work.

The helper is a new process of this interpreter; calls go to it as frames over a pair of sockets. When the socket
closes, the helper and its connection end. This is the child's side; `_relay_process` is the helper.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc

from cardbroker._state import State

OPEN, START, MESSAGE, HALF_CLOSE, CANCEL, END, STATE = range(7)
"""The kinds of frames: the channel's options, a new call, a message of a call, the half-close and the cancellation by
this side, the end by the other side, and a query for the channel's state, which a MESSAGE answers."""

_Encode = Callable[[Any], bytes]
_Decode = Callable[[bytes], Any]
_Metadata = Iterable[tuple[str, str]]

_HEADER = struct.Struct("!IIB")
_PROGRAM = "import sys; sys.path[:] = {}; from cardbroker._relay_process import main; main({})"
_STOP_TIME = 5.0


def send_frame(connection: socket.socket, lock: threading.Lock, call: int, kind: int, payload: bytes = b"") -> None:
    """Writes one frame; the lock keeps frames of several threads apart."""
    with lock:
        connection.sendall(_HEADER.pack(len(payload), call, kind) + payload)


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Reads frames (the call's number, the kind, the payload) until the other side closes the socket."""
    # A reset of the connection counts as its end.
    with contextlib.suppress(OSError), connection.makefile("rb") as stream:
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            length, call, kind = _HEADER.unpack(header)
            payload = stream.read(length)
            if len(payload) < length:
                return
            yield call, kind, payload


class RelayError(grpc.RpcError):
    """The failed end of a call, with the interface of grpcio's own error."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Iterable[tuple[str, str | bytes]] = ()) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._trailers = tuple(trailers)

    def code(self) -> grpc.StatusCode:
        """The gRPC status code of the call."""
        return self._code

    def details(self) -> str:
        """The message of the status."""
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:  # type: ignore[override]
        """The trailers of the call."""
        return self._trailers


class RelayChannel:
    """Replaces `grpc.Channel` for the generated stub. Starts the helper process with the first call."""

    def __init__(self, target: str, options: list[tuple[str, str | int]], certificate: str | None) -> None:
        self._open = json.dumps([target, options, certificate]).encode()
        self._lock = threading.Lock()
        self._relay: _Relay | None = None
        self._is_closed = False

    def unary_unary(
        self, method: str, request_serializer: _Encode, response_deserializer: _Decode, **_: object
    ) -> Callable[..., Any]:
        """A call with one request and one answer."""

        def call(request: object, timeout: float | None = None, metadata: _Metadata = ()) -> object:
            started = self._start(method, response_deserializer, timeout, metadata)
            started.send(request_serializer(request))
            started.half_close()
            answer = next(started, None)
            # The second `next` reads the status.
            if answer is None or next(started, None) is not None:
                raise RelayError(grpc.StatusCode.INTERNAL, "not one answer")
            return answer

        return call

    def unary_stream(
        self, method: str, request_serializer: _Encode, response_deserializer: _Decode, **_: object
    ) -> Callable[..., Any]:
        """A call with one request and a stream of answers."""

        def call(request: object, timeout: float | None = None, metadata: _Metadata = ()) -> _Call:
            started = self._start(method, response_deserializer, timeout, metadata)
            started.send(request_serializer(request))
            started.half_close()
            return started

        return call

    def stream_stream(
        self, method: str, request_serializer: _Encode, response_deserializer: _Decode, **_: object
    ) -> Callable[..., Any]:
        """A call with streams both ways."""

        def call(requests: Iterable[object], timeout: float | None = None, metadata: _Metadata = ()) -> _Call:
            started = self._start(method, response_deserializer, timeout, metadata)
            pump = threading.Thread(target=started.pump, args=(map(request_serializer, requests),), daemon=True)
            pump.start()
            return started

        return call

    def close(self) -> None:
        """Ends the helper process and all its calls."""
        with self._lock:
            self._is_closed = True
            relay, self._relay = self._relay, None
        if relay:
            relay.close()

    def on_fork(self) -> None:
        """Leaves the helper process to the parent."""
        if self._relay:
            self._relay.leave()

    def state(self, *, begin: bool = False) -> State:
        """The state of the helper process's channel; with `begin` an idle one begins to connect."""
        with self._lock:
            asked = self._running().ask(begin=begin)
        try:
            return State(next(asked, State.FAILED.value))
        except RelayError:
            return State.FAILED

    def _start(self, method: str, decode: _Decode, timeout: float | None, metadata: _Metadata) -> _Call:
        with self._lock:
            return self._running().start(method, decode, timeout, metadata)

    def _running(self) -> _Relay:
        if self._is_closed:
            raise ValueError("Cannot invoke RPC on closed channel!")
        if self._relay is None or self._relay.is_gone:
            self._relay = _Relay(self._open)
        return self._relay


class _Call:
    """A running call: an iterator of its answers that ends with OK or raises `RelayError`."""

    def __init__(self, relay: _Relay, number: int, decode: _Decode) -> None:
        self._relay = relay
        self._number = number
        self._decode = decode
        self._is_over = False
        self.answers: SimpleQueue[bytes | RelayError | None] = SimpleQueue()

    def send(self, message: bytes) -> None:
        self._relay.send(self._number, MESSAGE, message)

    def half_close(self) -> None:
        self._relay.send(self._number, HALF_CLOSE)

    def pump(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.send(message)
        self.half_close()

    def is_active(self) -> bool:
        return not self._is_over

    def cancel(self) -> bool:
        self._relay.send(self._number, CANCEL)
        return True

    def __iter__(self) -> _Call:
        return self

    def __next__(self) -> object:
        if self._is_over:
            raise StopIteration
        answer = self.answers.get()
        if isinstance(answer, bytes):
            return self._decode(answer)
        self._is_over = True
        raise answer or StopIteration


class _Relay:
    """The helper process and its calls."""

    def __init__(self, opening: bytes) -> None:
        self._connection, theirs = socket.socketpair()
        self._write_lock = threading.Lock()
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._last = 0
        self.is_gone = False
        if not sys.executable:
            raise RelayError(grpc.StatusCode.FAILED_PRECONDITION, "sys.executable is empty: no helper can start")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(sys.path, theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Signals of the terminal reach the program, which ends the helper when it exits.
                start_new_session=True,
            )
        self.send(0, OPEN, opening)
        threading.Thread(target=self._read, name="cardbroker-relay", daemon=True).start()

    def start(self, method: str, decode: _Decode, timeout: float | None, metadata: _Metadata) -> _Call:
        return self._begin(decode, START, json.dumps([method, timeout, list(metadata)]).encode())

    def ask(self, *, begin: bool) -> _Call:
        return self._begin(bytes, STATE, b"begin" if begin else b"")

    def _begin(self, decode: _Decode, kind: int, payload: bytes = b"") -> _Call:
        with self._lock:
            self._last += 1
            number = self._last
            call = self._calls[number] = _Call(self, number, decode)
        self.send(number, kind, payload)
        return call

    def send(self, call: int, kind: int, payload: bytes = b"") -> None:
        try:
            send_frame(self._connection, self._write_lock, call, kind, payload)
        except OSError:
            # The reading thread ends all calls.
            self.is_gone = True
            if started := self._calls.pop(call, None):
                started.answers.put(_gone())

    def close(self) -> None:
        self.is_gone = True
        # The helper process may have ended before.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_STOP_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def leave(self) -> None:
        self.is_gone = True
        self._connection.close()
        # The helper process is not a child of this process.
        self._process.returncode = 0

    def _read(self) -> None:
        for number, kind, payload in frames(self._connection):
            with self._lock:
                call = self._calls.pop(number, None) if kind == END else self._calls.get(number)
            if call:
                call.answers.put(_status(payload) if kind == END else payload)
        self.is_gone = True
        with self._lock:
            calls, self._calls = self._calls, {}
        for call in calls.values():
            call.answers.put(_gone())
        with self._write_lock:
            self._connection.close()
        self._process.poll()


def _gone() -> RelayError:
    return RelayError(grpc.StatusCode.UNAVAILABLE, "the helper process with the connection has ended")


def _status(payload: bytes) -> RelayError | None:
    number, details, trailers = json.loads(payload)
    code = next((each for each in grpc.StatusCode if each.value[0] == number), grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.OK:
        return None
    return RelayError(
        code, details, ((key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in trailers)
    )
