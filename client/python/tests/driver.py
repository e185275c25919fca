"""The driver for the conformance kit: runs the operation in each line of its input and prints the outcome as JSON.

Uses only the public interface of `cardbroker.aio` with `--aio`, else of `cardbroker`, except for the search for a
broker.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from cardbroker.v1 import reader_pb2, session_pb2, transmit_pb2
from driver_answers import (
    broker_message,
    error_of,
    opened_message,
    printed,
    reader_message,
    session_message,
    transmit_message,
    turns_message,
)
from driver_places import found
from driver_requests import parsed, session_arguments, session_commands, unit_arguments, unit_commands, word
from google.protobuf.message import Message

import cardbroker
import cardbroker.aio

Json = dict[str, Any]
Answer = tuple[Any, Callable[[Any], Message]]
"""The pending answer to a session's message, and its conversion to a message of the contract."""


class Driver:
    """Keeps the client, the watches and the session between operations. Awaits results of `cardbroker.aio` only."""

    def __init__(self, *, is_aio: bool) -> None:
        self._is_aio = is_aio
        self._api: Any = cardbroker.aio if is_aio else cardbroker
        self._client: Any = None
        self._watch: Any = None
        self._turns: Any = None
        self._session: Any = None
        self._printed: list[Json] | None = None

    async def answer(self, line: Json) -> Json:
        """Runs the operation of one line; returns its outcome."""
        try:
            operation = getattr(self, "on_" + line["op"])
            return {"ok": await operation(line)}
        except cardbroker.CardbrokerError as error:
            return {"error": error_of(error, is_in_session=line["op"].startswith("session"))}
        except Exception as error:
            # An exception outside the client's own: the kit compares the kind.
            return {"error": {"kind": repr(error)}}

    async def on_connect(self, line: Json) -> Json:
        options = {key: line[key] for key in ("group", "token_file", "connect_timeout") if line.get(key) is not None}
        self._client = await _done(self._api.connect(line["endpoint"], **options))
        return {}

    async def on_get_broker(self, _: Json) -> Json:
        return printed(broker_message(await _done(self._client.broker())))

    async def on_readers(self, _: Json) -> Json:
        readers = await _done(self._client.readers())
        return printed(reader_pb2.ListReadersResponse(readers=map(reader_message, readers)))

    async def on_reader(self, line: Json) -> Json:
        return printed(reader_message(await _done(self._client.reader(line["name"]))))

    async def on_watch(self, _: Json) -> Json:
        if self._watch:
            self._watch.close()
        self._watch = self._client.watch()
        self._printed = None
        return {}

    async def on_watch_next(self, _: Json) -> Json:
        while True:
            event = await self._next(self._watch)
            readers = [printed(reader_message(reader)) for _, reader in sorted(self._watch.readers.items())]
            # One message may bring several events; at the first, `readers` already contains all of them.
            if isinstance(event, cardbroker.Connected) or (self._watch.is_connected and readers != self._printed):
                self._printed = readers
                return {"readers": readers}

    async def on_watch_turn(self, line: Json) -> Json:
        if self._turns:
            self._turns.close()
        self._turns = None
        self._turns = await _done(self._client.watch_turn(line.get("reader")))
        return {}

    async def on_turn_next(self, _: Json) -> Json:
        return printed(turns_message(await self._next(self._turns)))

    async def on_transmit(self, line: Json) -> Json:
        request = parsed(line["request"], transmit_pb2.TransmitRequest())
        arguments = unit_arguments(request, line)
        outcome = await _done(self._client.transmit(request.reader, *unit_commands(request), **arguments))
        return printed(transmit_message(outcome))

    async def on_open(self, line: Json) -> Json:
        request = parsed(line["request"], session_pb2.SessionOpen())
        self._session = await _done(self._client.session(request.reader, **session_arguments(request)).open())
        return printed(opened_message(self._session))

    async def on_session_transmit(self, line: Json) -> Json:
        return await _shown(self._begin({"transmit": line["request"], "restart": line.get("restart")}))

    async def on_session_reset(self, line: Json) -> Json:
        return await _shown(self._begin({"reset": line["request"], "restart": line.get("restart")}))

    async def on_session_pipeline(self, line: Json) -> Json:
        begun = [self._begun(message) for message in line["messages"]]
        return {"answers": [await _told(answer) for answer in begun]}

    async def on_session_close(self, _: Json) -> Json:
        await _done(self._session.close())
        return {}

    async def on_session_drop(self, _: Json) -> Json:
        self._session.abort()
        return {}

    async def on_parse_endpoint(self, line: Json) -> Json:
        return {"endpoint": str(cardbroker.Endpoint.parse(line["text"]))}

    async def on_find(self, line: Json) -> Json:
        return found(line["uid"], line["environment"], line["found"])

    async def on_meaning(self, line: Json) -> Json:
        text = cardbroker.meaning(line["status_word"])
        return {} if text is None else {"text": text}

    def _begun(self, message: Json) -> Answer | cardbroker.CardbrokerError:
        try:
            return self._begin(message)
        except cardbroker.CardbrokerError as error:
            return error

    def _begin(self, message: Json) -> Answer:
        """Sends a message of the session; returns its pending answer."""
        session, restart = self._session, message.get("restart")
        if "transmit" in message:
            commands = session_commands(parsed(message["transmit"], session_pb2.SessionTransmit()))
            if self._is_aio:
                sent = asyncio.ensure_future(session.transmit(*commands, restart=restart))
            else:
                sent = session.submit(*commands, restart=restart)
            return sent, session_message
        kind = word(parsed(message["reset"], session_pb2.SessionReset()), "reset")
        if self._is_aio:
            sent = asyncio.ensure_future(session.reset(kind, restart=restart))
        else:
            sent = session.submit_reset(kind, restart=restart)
        return sent, lambda atr: session_pb2.SessionResetDone(atr=atr)

    async def _next(self, watch: Any) -> Any:  # noqa: ANN401
        return await watch.__anext__() if self._is_aio else next(watch)


async def _done(result: Any) -> Any:  # noqa: ANN401
    return await result if inspect.isawaitable(result) else result


async def _shown(answer: Answer) -> Json:
    sent, message = answer
    return printed(message(sent.result() if isinstance(sent, cardbroker.Pending) else await sent))


async def _told(answer: Answer | cardbroker.CardbrokerError) -> Json:
    try:
        if isinstance(answer, cardbroker.CardbrokerError):
            raise answer
        return {"ok": await _shown(answer)}
    except cardbroker.CardbrokerError as error:
        return {"error": error_of(error, is_in_session=True)}


def _run(coroutine: Coroutine[Any, Any, Json]) -> Json:
    """Runs a coroutine that never suspends, because the client without asyncio blocks."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Json = done.value
        return result
    raise AssertionError("it waits")


def main() -> None:
    """Answers each line until the end of the input."""
    is_aio = "--aio" in sys.argv[1:]
    driver = Driver(is_aio=is_aio)
    loop = asyncio.new_event_loop() if is_aio else None

    async def lines() -> None:
        running = asyncio.get_running_loop()
        while line := await running.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await driver.answer(json.loads(line))), flush=True)

    if loop:
        # The loop also runs between lines, so that sessions send heartbeats.
        loop.run_until_complete(lines())
        return
    for line in sys.stdin:
        print(json.dumps(_run(driver.answer(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
