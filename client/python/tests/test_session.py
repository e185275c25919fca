"""Sessions: the exclusive lease, its failures and its end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from broker import COUNT, GET_RESPONSE, PROTECTED, READ_RECORD, READER, SELECT, VERIFY, Broker, fault, raw, slow, until

import cardbroker


def test_a_session_holds_the_card_over_many_commands(client: cardbroker.Client) -> None:
    with client.session(READER, card="AWAITED") as session:
        assert (session.insertion_id, session.is_open) == (client.readers()[0].insertion_id, True)
        assert session.transmit(raw(SELECT)).results[0].status_word == 0x6113
        answered = session.transmit(raw(GET_RESPONSE))
        assert (answered.results[0].status_word, answered.insertion_id) == (0x9000, session.insertion_id)
        assert session.reset("COLD") == session.atr
    assert not session.is_open
    with pytest.raises(cardbroker.FailedError) as caught:
        session.transmit(SELECT)
    assert caught.value.delivery == "NOT_SENT"


def test_an_orderly_end_resets_the_card_or_leaves_it(client: cardbroker.Client) -> None:
    for disposition, status_word in ((None, 0x6982), ("LEAVE", 0x9000)):
        with client.session(READER, disposition=disposition) as session:  # type: ignore[arg-type]
            session.transmit(VERIFY)
        assert client.transmit(READER, PROTECTED).results[0].status_word == status_word


def test_an_exception_ends_the_session_abruptly(client: cardbroker.Client) -> None:
    def work() -> None:
        with client.session(READER, disposition="LEAVE") as session:
            session.transmit(VERIFY)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert client.transmit(READER, PROTECTED).results[0].status_word == 0x6982


def test_a_session_without_references_ends_at_once(client: cardbroker.Client) -> None:
    session = client.session(READER).open()
    session.transmit(VERIFY)
    del session
    assert client.transmit(READER, PROTECTED).results[0].status_word == 0x6982


def test_calls_of_many_threads_get_their_own_answers(client: cardbroker.Client) -> None:
    with client.session(READER) as session, ThreadPoolExecutor(40) as threads:
        echoes = [threads.submit(session.transmit, bytes((0x80, 0x14, 0, 0, 1, n, 1))) for n in range(80)]
        assert [echo.result(20).results[0].data for echo in echoes] == [bytes((n,)) for n in range(80)]


def test_a_stop_leaves_the_session_alive(client: cardbroker.Client) -> None:
    with client.session(READER) as session:
        with pytest.raises(cardbroker.StoppedError) as caught:
            session.transmit(PROTECTED, COUNT)
        assert (caught.value.reason, caught.value.delivery) == ("STATUS_WORD", "NOT_SENT")
        assert session.transmit(READ_RECORD).results[0].status_word == 0x9000


def test_the_call_after_a_failure_in_a_session_runs(client: cardbroker.Client) -> None:
    with client.session(READER) as session:
        with pytest.raises(cardbroker.FailedError) as caught:
            session.transmit(SELECT + b"\x00\x00\x00")
        assert (caught.value.reason, caught.value.delivery) == ("INVALID_REQUEST", "NOT_SENT")
        assert session.is_open
        for _ in range(2):
            assert session.transmit(READ_RECORD).results[0].status_word == 0x9000


def test_malformed_commands_harm_no_session(client: cardbroker.Client) -> None:
    with client.session(READER) as session:
        for commands in ([], [b"\x00" * 3], [b"\x00" * 65_544] * 16):
            with pytest.raises(cardbroker.InvalidError) as caught:
                session.transmit(*commands)
            assert caught.value.reason == "INVALID_REQUEST"
        assert session.transmit(READ_RECORD).results[0].status_word == 0x9000


def test_a_removal_ends_the_session_for_all_calls(client: cardbroker.Client) -> None:
    session = client.session(READER).open()
    with pytest.raises(cardbroker.FailedError) as caught:
        session.transmit(fault(1, 0, 0xFFFF))
    assert (caught.value.reason, caught.value.delivery) == ("CARD_REMOVED", "UNKNOWN")
    until(lambda: not session.is_open)
    with pytest.raises(cardbroker.FailedError) as caught:
        session.transmit(SELECT)
    assert (caught.value.reason, caught.value.delivery) == ("CARD_REMOVED", "NOT_SENT")
    with pytest.raises(cardbroker.FailedError) as caught:
        session.close()
    assert caught.value.reason == "CARD_REMOVED"


def test_a_killed_broker_makes_sent_messages_unknown(broker: Broker, client: cardbroker.Client) -> None:
    session = client.session(READER).open()
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(session.transmit, slow(20_000))
        until(lambda: session._conversation.unanswered_count == 1)
        broker.kill()
        error = sent.exception(20)
    assert isinstance(error, cardbroker.FailedError)
    assert (error.reason, error.delivery) == (None, "UNKNOWN")
    with pytest.raises(cardbroker.FailedError) as caught:
        session.reset()
    assert caught.value.delivery == "NOT_SENT"


def test_a_session_reports_queue_position_and_waiters(broker: Broker, client: cardbroker.Client) -> None:
    ahead: list[int] = []
    queued = Event()

    def tell(turns: int) -> None:
        ahead.append(turns)
        queued.set()

    with cardbroker.connect(broker.endpoint) as other, ThreadPoolExecutor(1) as threads:
        session = client.session(READER).open()
        waiting = threads.submit(other.session(READER, on_queue_position=tell).open)
        assert queued.wait(20)
        assert ahead[0] == 1
        until(lambda: session.waiters == 1)
        session.close()
        second = waiting.result(20)
        assert second.queue_duration > 0
        second.close()


def test_an_exception_in_the_callback_fails_the_opening(client: cardbroker.Client) -> None:
    def tell(turns: int) -> None:
        raise ZeroDivisionError

    with client.session(READER), pytest.raises(cardbroker.FailedError, match="ZeroDivisionError") as caught:
        client.session(READER, on_queue_position=tell).open()
    assert caught.value.delivery == "NOT_SENT"


def test_a_wait_timeout_fails_the_opening(client: cardbroker.Client) -> None:
    with client.session(READER), pytest.raises(cardbroker.FailedError) as caught:
        client.session(READER, wait_timeout=0).open()
    assert (caught.value.reason, caught.value.delivery) == ("QUEUE_TIMEOUT", "NOT_SENT")


def test_an_idle_session_is_revoked_while_others_wait(client: cardbroker.Client) -> None:
    session = client.session(READER, idle_timeout=0.1).open()
    client.transmit(READER, SELECT)
    until(lambda: not session.is_open)
    with pytest.raises(cardbroker.FailedError) as caught:
        session.transmit(SELECT)
    assert (caught.value.reason, caught.value.delivery) == ("LEASE_REVOKED", "NOT_SENT")
