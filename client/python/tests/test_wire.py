"""Long answers, and answers against the contract, from a server of the test."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import grpc
import pytest
from broker import SELECT, until
from cardbroker.v1 import service_pb2_grpc, session_pb2

import cardbroker
import cardbroker.aio
from cardbroker._session import _until_none
from cardbroker._silence import Alarm

Answer = Callable[[int], list[session_pb2.OpenSessionResponse]]


class Server(service_pb2_grpc.CardBrokerServiceServicer):
    """A server that answers the messages of sessions by a function of the test."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._server = grpc.server(ThreadPoolExecutor(8))
        service_pb2_grpc.add_CardBrokerServiceServicer_to_server(self, self._server)
        self._folder = tempfile.TemporaryDirectory()
        self.endpoint = f"unix:{self._folder.name}/socket"
        self._server.add_insecure_port(self.endpoint)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait(20)
        self._folder.cleanup()

    def OpenSession(
        self, request_iterator: Iterator[session_pb2.OpenSessionRequest], context: grpc.ServicerContext
    ) -> Iterator[session_pb2.OpenSessionResponse]:
        for message in request_iterator:
            if message.HasField("open"):
                yield session_pb2.OpenSessionResponse(opened=session_pb2.SessionOpened(insertion_id="first"))
            else:
                yield from self.answer(message.transmit.id)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))  # type: ignore[abstract]
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def transmitted(message_id: int) -> session_pb2.OpenSessionResponse:
    return session_pb2.OpenSessionResponse(transmitted=session_pb2.SessionTransmitted(id=message_id))


def test_answers_against_the_contract_end_the_session(serve: Callable[[Answer], Server]) -> None:
    reset_done = session_pb2.OpenSessionResponse(reset_done=session_pb2.SessionResetDone(id=1))
    for answer in (lambda number: [transmitted(number + 1)], lambda _: [reset_done]):
        server = serve(answer)
        with cardbroker.connect(server.endpoint) as client:
            session = client.session("readers/desk").open()
            with pytest.raises(cardbroker.FailedError) as caught:
                session.transmit(SELECT)
            assert (caught.value.reason, caught.value.delivery) == (None, "UNKNOWN")
            session.abort()


def test_a_long_answer_fits(serve: Callable[[Answer], Server]) -> None:
    megabyte = bytes(1 << 20)

    def answer(number: int) -> list[session_pb2.OpenSessionResponse]:
        response = transmitted(number)
        response.transmitted.results.add().apdu.data = megabyte
        return [response]

    server = serve(answer)
    with cardbroker.connect(server.endpoint) as client, client.session("readers/desk") as session:
        assert session.transmit(SELECT).results[0].data == megabyte


def test_a_silent_broker_counts_as_lost(serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardbroker._session.SILENCE_LIMIT", 0.5)
    monkeypatch.setattr("cardbroker.aio._session.SILENCE_LIMIT", 0.5)
    server = serve(lambda _: [])

    async def tasks() -> None:
        async with await cardbroker.aio.connect(server.endpoint) as client:
            await (await client.session("readers/desk").open()).transmit(SELECT)

    def threads() -> None:
        with cardbroker.connect(server.endpoint) as client:
            client.session("readers/desk").open().transmit(SELECT)

    for story in (threads, lambda: asyncio.run(tasks())):
        with pytest.raises(cardbroker.FailedError, match="silent") as caught:
            story()
        assert (caught.value.reason, caught.value.delivery) == (None, "UNKNOWN")


def test_one_thread_serves_all_alarms() -> None:
    rung: list[int] = []
    before = threading.active_count()
    alarms = [Alarm(lambda number=number: rung.append(number), 0.3) for number in range(20)]  # type: ignore[misc]
    for alarm in alarms:
        alarm.set()
    assert threading.active_count() <= before + 1
    for alarm in alarms[1:]:
        alarm.stop()
    until(lambda: alarms[0].has_rung)
    assert rung == [0]


def test_heartbeats_break_the_silence_and_are_no_messages() -> None:
    queue: SimpleQueue[session_pb2.OpenSessionRequest | None] = SimpleQueue()
    written: list[session_pb2.OpenSessionRequest] = []
    messages = _until_none(queue, written.append, interval=0.05)
    assert next(messages).HasField("heartbeat")
    threading.Timer(0.01, queue.put, [session_pb2.OpenSessionRequest(restart=True)]).start()
    assert next(messages).restart
    queue.put(None)
    assert list(messages) == []
    assert len(written) == 2
