"""What goes over the wire, seen by a server of our own; and answers that no broker should give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from broker import SELECT, until
from cardbroker.v1 import reader_pb2, service_pb2_grpc, session_pb2, transmit_pb2

import cardbroker

Answer = Callable[[int], list[session_pb2.OpenSessionResponse]]


class Server(service_pb2_grpc.CardBrokerServiceServicer):
    """Records what it is sent. Loses the first units, and answers sessions as it is told to."""

    def __init__(self, *, losing: int = 0, answer: Answer = lambda _: []) -> None:
        self.losing = losing
        self.answer = answer
        self.metadata: list[dict[str, str | bytes]] = []
        self.units: list[transmit_pb2.TransmitRequest] = []
        self.messages: list[session_pb2.OpenSessionRequest] = []
        self.half_closed: list[bool] = []
        self._server = grpc.server(ThreadPoolExecutor(8))
        service_pb2_grpc.add_CardBrokerServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait(20)

    def ListReaders(
        self, request: reader_pb2.ListReadersRequest, context: grpc.ServicerContext
    ) -> reader_pb2.ListReadersResponse:
        self._called(context)
        return reader_pb2.ListReadersResponse()

    def Transmit(
        self, request: transmit_pb2.TransmitRequest, context: grpc.ServicerContext
    ) -> transmit_pb2.TransmitResponse:
        self._called(context)
        self.units.append(request)
        if len(self.units) <= self.losing:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return transmit_pb2.TransmitResponse(replayed=True)

    def OpenSession(
        self, request_iterator: Iterator[session_pb2.OpenSessionRequest], context: grpc.ServicerContext
    ) -> Iterator[session_pb2.OpenSessionResponse]:
        self._called(context)
        half_closed = False
        terminated = threading.Event()
        context.add_callback(terminated.set)
        try:
            for message in request_iterator:
                self.messages.append(message)
                if message.HasField("open"):
                    yield session_pb2.OpenSessionResponse(opened=session_pb2.SessionOpened(insertion_id="first"))
                else:
                    yield from self.answer(message.transmit.id)
            # The iterator of a stream that was reset may end as well; that it was reset is told a moment later.
            half_closed = not terminated.wait(0.5)
        finally:
            self.half_closed.append(half_closed)

    def _called(self, context: grpc.ServicerContext) -> None:
        self.metadata.append(dict(context.invocation_metadata()))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(**options: object) -> Server:
        servers.append(Server(**options))  # type: ignore[abstract, arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def transmitted(message_id: int) -> session_pb2.OpenSessionResponse:
    return session_pb2.OpenSessionResponse(transmitted=session_pb2.SessionTransmitted(id=message_id))


def test_group_and_token_go_with_every_call(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(answer=lambda number: [transmitted(number)])
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with cardbroker.connect(server.endpoint, group="5f2c", token_file=token) as client:
        client.readers()
        client.transmit("readers/desk", SELECT)
        with client.session("readers/desk") as session:
            session.transmit(SELECT)
    told = [(call["authorization"], call["cardbroker-group"]) for call in server.metadata]
    assert told == [("Bearer s3cret", "5f2c")] * 3


def test_all_that_was_asked_for_reaches_the_broker(serve: Callable[..., Server]) -> None:
    server = serve()
    with cardbroker.connect(server.endpoint) as client:
        client.transmit("readers/desk", cardbroker.Command(SELECT, continue_on=[(0x6982, 0xFFFF)]), deadline=10)
        opening = client.session(
            "readers/desk",
            wait_timeout=5,
            wait_for_card=True,
            if_insertion_id="i",
            if_state_tag="t",
            start_reset=True,
            idle_timeout=0.5,
            leave_at_end=True,
        )
        with opening:
            pass
    assert server.units[0].wait_timeout.ToMilliseconds() == 9_000
    assert server.units[0].commands[0].continue_on[0].value == 0x6982
    opened = server.messages[0].open
    assert (opened.reader, opened.wait_for_card, opened.if_insertion_id, opened.if_state_tag) == (
        "readers/desk",
        True,
        "i",
        "t",
    )
    assert (opened.start, opened.end) == (transmit_pb2.CARD_START_RESET, session_pb2.SESSION_END_LEAVE)
    assert (opened.wait_timeout.seconds, opened.idle_timeout.ToMilliseconds()) == (5, 500)


def test_a_unit_that_is_lost_comes_back_if_it_is_repeatable(serve: Callable[..., Server]) -> None:
    server = serve(losing=2)
    with cardbroker.connect(server.endpoint) as client:
        assert client.transmit("readers/desk", SELECT, repeatable=True).replayed
    assert len({unit.request_id for unit in server.units}) == 1
    assert len(server.units) == 3
    server = serve(losing=1)
    with cardbroker.connect(server.endpoint) as client, pytest.raises(cardbroker.FailedError) as caught:
        client.transmit("readers/desk", SELECT)
    assert (caught.value.delivery, len(server.units), server.units[0].request_id) == ("unknown", 1, b"")


def test_a_close_half_closes_and_an_abort_resets_the_stream(serve: Callable[..., Server]) -> None:
    server = serve()
    with cardbroker.connect(server.endpoint) as client:
        with client.session("readers/desk"):
            pass
        assert server.half_closed == [True]
        client.session("readers/desk").open().abort()
        until(lambda: len(server.half_closed) == 2)
        assert server.half_closed[1] is False


def test_at_most_32_messages_are_on_their_way(serve: Callable[..., Server]) -> None:
    held: list[int] = []

    def answer(number: int) -> list[session_pb2.OpenSessionResponse]:
        held.append(number)
        # Holds all answers back until the window is full, and those of the rest until the last message.
        if number not in (32, 40):
            return []
        answers = [transmitted(each) for each in held]
        held.clear()
        return answers

    server = serve(answer=answer)
    with cardbroker.connect(server.endpoint) as client, client.session("readers/desk") as session:
        with ThreadPoolExecutor(40) as threads:
            for call in [threads.submit(session.transmit, SELECT) for _ in range(40)]:
                call.result(20)
    assert [message.transmit.id for message in server.messages[1:]] == list(range(1, 41))


def test_answers_that_cannot_be_believed_end_the_session(serve: Callable[..., Server]) -> None:
    reset_done = session_pb2.OpenSessionResponse(reset_done=session_pb2.SessionResetDone(id=1))
    for answer in (lambda number: [transmitted(number + 1)], lambda _: [reset_done]):
        server = serve(answer=answer)
        with cardbroker.connect(server.endpoint) as client:
            session = client.session("readers/desk").open()
            with pytest.raises(cardbroker.FailedError) as caught:
                session.transmit(SELECT)
            assert (caught.value.reason, caught.value.delivery) == (None, "unknown")
            session.abort()


def test_a_long_answer_fits(serve: Callable[..., Server]) -> None:
    megabyte = bytes(1 << 20)

    def answer(number: int) -> list[session_pb2.OpenSessionResponse]:
        response = transmitted(number)
        response.transmitted.results.add(data=megabyte, status_word=0x9000)
        return [response]

    server = serve(answer=answer)
    with cardbroker.connect(server.endpoint) as client, client.session("readers/desk") as session:
        assert session.transmit(SELECT).results[0].data == megabyte
