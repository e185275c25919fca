"""The helper process with a forked child's connection: forwards each call to gRPC. Ends with its socket."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from queue import SimpleQueue
from typing import Any

import grpc

from cardbroker._relay import CANCEL, END, MESSAGE, OPEN, START, STATE, frames, send_frame
from cardbroker._state import state_of


def main(descriptor: int) -> None:
    """Serves the socket until the child closes its end."""
    connection = socket.socket(fileno=descriptor)
    lock = threading.Lock()
    channel: grpc.Channel | None = None
    # The outgoing messages of each call, and the call.
    calls: dict[int, tuple[SimpleQueue[bytes | None], Any]] = {}
    for number, kind, payload in frames(connection):
        if kind == OPEN:
            target, pairs, certificate = json.loads(payload)
            options = [tuple(pair) for pair in pairs]
            if certificate:
                root = grpc.ssl_channel_credentials(root_certificates=certificate.encode())
                channel = grpc.secure_channel(target, root, options)
            else:
                channel = grpc.insecure_channel(target, options)
        elif kind == START and channel:
            method, timeout, metadata = json.loads(payload)
            outgoing: SimpleQueue[bytes | None] = SimpleQueue()
            start: Any = channel.stream_stream(method)
            call = start(iter(outgoing.get, None), timeout=timeout, metadata=[tuple(pair) for pair in metadata])
            calls[number] = (outgoing, call)
            threading.Thread(target=_answer, args=(connection, lock, number, call, calls), daemon=True).start()
        elif kind == STATE:
            try:
                state = state_of(channel, begin=bool(payload))
                send_frame(connection, lock, number, MESSAGE, state.value)
                send_frame(connection, lock, number, END, json.dumps([0, "", []]).encode())
            except OSError:
                break
        # One lookup, because the thread of the call may remove it at any moment.
        elif started := calls.get(number):
            outgoing, call = started
            if kind == CANCEL:
                call.cancel()
            outgoing.put(payload if kind == MESSAGE else None)
    # Exits at once and abandons running calls: the child is gone.
    os._exit(0)


def _answer(
    connection: socket.socket, lock: threading.Lock, number: int, call: grpc.Call, calls: dict[int, Any]
) -> None:
    """Returns the answers of a call and its status."""
    try:
        try:
            answers: Any = call
            for message in answers:
                send_frame(connection, lock, number, MESSAGE, message)
        except grpc.RpcError:
            pass
        trailers = [
            (key, base64.b64encode(value).decode() if isinstance(value, bytes) else value)
            for key, value in call.trailing_metadata() or ()
        ]
        status = json.dumps([call.code().value[0], call.details() or "", trailers]).encode()
        # Ends the thread that waits for outgoing messages.
        calls.pop(number)[0].put(None)
        send_frame(connection, lock, number, END, status)
    except OSError:
        os._exit(0)
