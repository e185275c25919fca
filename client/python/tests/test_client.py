"""Readers and units: their answers and their failures."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from broker import (
    COUNT,
    GET_RESPONSE,
    PIN,
    PROTECTED,
    READ_RECORD,
    READER,
    SELECT,
    VERIFY,
    Broker,
    fault,
    raw,
    slow,
    until,
)

import cardbroker


def test_readers_are_listed_with_their_properties(client: cardbroker.Client) -> None:
    first, second = client.readers()
    assert (first.name, first.display_name, first.state) == (READER, "Simulated Reader 00", "READY")
    assert (first.active_protocol, second.active_protocol, first.insertion_count) == ("T1", "T0", 1)
    assert first.atr[:2] == b"\x3b\x88"
    assert first.insertion_id != second.insertion_id


def test_a_unit_answers_all_its_commands(client: cardbroker.Client) -> None:
    outcome = client.transmit(READER, SELECT, cardbroker.Command(READ_RECORD))
    select, record = outcome.results
    assert (select.status_word, len(select.data), select.get_response_count) == (0x9000, 19, 1)
    assert (record.data, record.status_word_source) == (b"Simulated record", "COMMAND")
    assert (select.status_word_source, outcome.insertion_id) == ("GET_RESPONSE", client.readers()[0].insertion_id)
    assert outcome.card_duration > 0


def test_raw_commands_are_sent_unchanged(client: cardbroker.Client) -> None:
    select, rest = client.transmit(READER, raw(SELECT), raw(GET_RESPONSE)).results
    assert (select.status_word, select.data, rest.status_word, len(rest.data)) == (0x6113, b"", 0x9000, 19)


def test_a_unit_that_stops_early_raises_with_its_answers(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.StoppedError) as caught:
        client.transmit(READER, READ_RECORD, PROTECTED, SELECT)
    error = caught.value
    assert (error.index, error.reason, error.delivery) == (2, "STATUS_WORD", "NOT_SENT")
    assert [result.status_word for result in error.partial.results] == [0x9000, 0x6982]


def test_a_command_may_set_the_rule_to_continue(client: cardbroker.Client) -> None:
    forgiving = cardbroker.Command(PROTECTED, continue_on=[(0x6982, 0xFFFF)])
    assert [result.status_word for result in client.transmit(READER, forgiving, READ_RECORD).results] == [
        0x6982,
        0x9000,
    ]
    own = cardbroker.Command(bytes.fromhex("8018000000"), continue_instruction=0xA5)
    assert client.transmit(READER, own).results[0].data == b"chain"


@pytest.mark.parametrize("commands", [[], [b"\x00" * 3], [b"\x00" * 65_545], [SELECT] * 65, [b"\x00" * 65_544] * 17])
def test_malformed_units_are_refused_without_the_broker(client: cardbroker.Client, commands: list[bytes]) -> None:
    with pytest.raises(cardbroker.InvalidError) as caught:
        client.transmit(READER, *commands)
    assert (caught.value.reason, caught.value.delivery) == ("INVALID_REQUEST", "NOT_SENT")
    assert caught.value.is_permanent


def test_the_broker_refuses_a_bad_apdu_with_its_index(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit(READER, SELECT, SELECT + b"\x00\x00\x00")
    error = caught.value
    assert (error.reason, error.delivery) == ("INVALID_REQUEST", "NOT_SENT")
    assert error.field_violations[0].field.startswith("commands[1].apdu")


def test_a_withheld_pin_has_the_tries_that_are_left(client: cardbroker.Client) -> None:
    wrong = bytes.fromhex("00200080083939393939393939")
    assert client.transmit(READER, wrong).results[0].status_word == 0x63C2
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit(READER, wrong)
    assert (caught.value.reason, caught.value.tries_left) == ("PIN_KNOWN_WRONG", 2)
    with pytest.raises(cardbroker.StoppedError) as stopped:
        client.transmit(READER, READ_RECORD, wrong)
    assert (stopped.value.index, stopped.value.tries_left) == (1, 2)


def test_an_apdu_of_another_type_raises_a_type_error(client: cardbroker.Client) -> None:
    with pytest.raises(TypeError, match="an APDU is bytes, not str"):
        client.transmit(READER, "00A40400")  # type: ignore[arg-type]


def test_an_unknown_reader_and_an_empty_one_differ(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit("readers/none", SELECT)
    assert (caught.value.reason, caught.value.delivery) == ("READER_NOT_FOUND", "NOT_SENT")
    client.transmit(READER, fault(2, 0, 0xFFFF))
    until(lambda: client.readers()[0].state == "EMPTY")
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit(READER, SELECT)
    error = caught.value
    assert (error.reason, error.delivery, error.reader) == ("NO_CARD", "NOT_SENT", READER)


def test_a_removal_during_a_command_makes_its_delivery_unknown(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit(READER, fault(1, 0, 0xFFFF))
    assert (caught.value.reason, caught.value.delivery) == ("CARD_REMOVED", "UNKNOWN")


def test_a_unit_may_wait_for_its_card(client: cardbroker.Client) -> None:
    client.transmit(READER, fault(2, 0, 200))
    until(lambda: client.readers()[0].state == "EMPTY")
    assert client.transmit(READER, SELECT, card="AWAITED").results[0].status_word == 0x9000


def test_a_turn_that_never_comes_is_not_sent(client: cardbroker.Client) -> None:
    with client.session(READER):
        for waits in ({"wait_timeout": 0.0}, {"deadline": 0.3}):
            with pytest.raises(cardbroker.FailedError) as caught:
                client.transmit(READER, SELECT, **waits)  # type: ignore[arg-type]
            assert (caught.value.reason, caught.value.delivery) == ("QUEUE_TIMEOUT", "NOT_SENT")


def test_a_deadline_during_a_command_makes_its_delivery_unknown(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.FailedError) as caught:
        client.transmit(READER, slow(2000), deadline=0.3)
    assert caught.value.reason in (None, "DEADLINE_NEAR")
    assert caught.value.delivery == "UNKNOWN"


def test_conditions_hold_or_nothing_is_sent(client: cardbroker.Client) -> None:
    first = client.transmit(READER, SELECT)
    client.transmit(READER, SELECT, if_insertion_id=first.insertion_id, if_state_tag=first.state_tag)
    for reason, condition in (
        ("STATE_CHANGED", {"if_state_tag": first.state_tag}),
        ("INSERTION_CHANGED", {"if_insertion_id": "another"}),
    ):
        with pytest.raises(cardbroker.FailedError) as caught:
            client.transmit(READER, SELECT, **condition)  # type: ignore[arg-type]
        assert (caught.value.reason, caught.value.delivery) == (reason, "NOT_SENT")


def test_the_same_request_id_is_executed_once(client: cardbroker.Client) -> None:
    first = client.transmit(READER, COUNT, request_id=b"0123456789abcdef")
    again = client.transmit(READER, COUNT, request_id=b"0123456789abcdef", repeatable=True)
    assert [result.data for result in again.results] == [result.data for result in first.results]
    assert (first.replayed, again.replayed) == (False, True)


def test_the_broker_describes_itself_and_its_caller(client: cardbroker.Client) -> None:
    info = client.broker()
    assert info.version
    assert info.limits.max_commands == 64
    assert info.caller.process_id == os.getpid()
    assert client.reader("Simulated Reader 00") == client.readers()[0]


def test_waiting_requests_are_followed(client: cardbroker.Client, broker: Broker) -> None:
    with client.watch_turn() as turns, cardbroker.connect(broker.endpoint) as other, ThreadPoolExecutor(1) as threads:
        assert next(turns) == []
        with client.session(READER):
            waiting = threads.submit(other.transmit, READER, SELECT)
            turn = next(turns)[0]
            assert (turn.reader, turn.is_session, turn.holder and turn.holder.is_own) == (READER, False, True)
        assert waiting.result(20).results[0].status_word == 0x9000


def test_a_reader_may_be_named_in_four_ways(client: cardbroker.Client) -> None:
    for name in (client.readers()[0], READER, "simulated-reader-00", "Simulated Reader 00"):
        assert client.transmit(name, SELECT).results[0].meaning == "done"
    with pytest.raises(cardbroker.InvalidError, match='no reader is called "Desk 1"; there are: "Simulated Reader 00"'):
        client.transmit("Desk 1", SELECT)


def test_actions_for_the_reader_are_not_implemented(client: cardbroker.Client) -> None:
    for command in (cardbroker.Command.control(1, b"x"), cardbroker.Command.pin_pad(VERIFY, "VERIFY")):
        with pytest.raises(cardbroker.FailedError) as caught:
            client.transmit(READER, command)
        assert (caught.value.reason, caught.value.delivery) == ("NOT_IMPLEMENTED", "NOT_SENT")
        assert caught.value.is_permanent


def test_a_word_outside_the_contract_is_refused(client: cardbroker.Client) -> None:
    with pytest.raises(cardbroker.InvalidError, match='"SOON" is none of REQUIRED, AWAITED, NOT_NEEDED'):
        client.transmit(READER, SELECT, card="SOON")  # type: ignore[arg-type]


def test_a_reset_before_a_unit_clears_the_verified_pin(client: cardbroker.Client) -> None:
    client.transmit(READER, VERIFY)
    assert client.transmit(READER, PROTECTED).results[0].status_word == 0x9000
    outcome = client.transmit(READER, PROTECTED, reset_before="WARM")
    assert (outcome.results[0].status_word, outcome.was_reset) == (0x6982, True)


def test_a_verified_pin_stays_within_the_isolation_group(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cardbroker.GROUP_VARIABLE, "5f2c")
    with cardbroker.connect(broker.endpoint) as parent, cardbroker.connect(broker.endpoint) as child:
        parent.transmit(READER, VERIFY, card="AWAITED")
        assert child.transmit(READER, PROTECTED).results[0].status_word == 0x9000
        with cardbroker.connect(broker.endpoint, group="another") as stranger:
            assert stranger.transmit(READER, PROTECTED).results[0].status_word == 0x6982


def test_no_error_holds_the_pin(client: cardbroker.Client) -> None:
    wrong = VERIFY[:5] + PIN + b"\x00\x00\x00"
    with pytest.raises(cardbroker.CardbrokerError) as caught:
        client.transmit(READER, wrong)
    assert "1234" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


def test_a_lost_broker_is_reported_and_found_again(broker: Broker, client: cardbroker.Client) -> None:
    broker.kill()
    start = time.monotonic()
    with pytest.raises(cardbroker.NotRunningError, match=r"^no broker at unix:") as caught:
        client.readers()
    assert caught.value.delivery == "NOT_SENT"
    assert 5 <= time.monotonic() - start < 30
    broker.restart()
    assert client.readers()


@pytest.mark.parametrize("operation", ["readers", "transmit", "session", "watch", "watch_turn"])
def test_every_operation_waits_for_a_broker_that_is_away(
    broker: Broker, client: cardbroker.Client, operation: str
) -> None:
    broker.kill()
    until(lambda: not client._wire.line())
    back = threading.Timer(1, broker.restart)
    back.start()
    if operation == "readers":
        assert client.readers()
    elif operation == "transmit":
        assert client.transmit(READER, SELECT, card="AWAITED").results[0].status_word == 0x9000
    elif operation == "session":
        client.session(READER, card="AWAITED").open().close()
    elif operation == "watch":
        with client.watch() as watch:
            assert isinstance(next(watch), cardbroker.Connected)
    else:
        with client.watch_turn() as turns:
            assert next(turns) == []
    back.join()


def test_without_connect_timeout_a_running_broker_is_reached(broker: Broker) -> None:
    for timeout in (0, 0.001):
        with cardbroker.connect(broker.endpoint, connect_timeout=timeout) as client:
            assert client.readers()


def test_waiting_for_the_broker_is_within_the_deadline(broker: Broker, client: cardbroker.Client) -> None:
    broker.kill()
    until(lambda: not client._wire.line())
    start = time.monotonic()
    with pytest.raises(cardbroker.NotRunningError) as caught:
        client.transmit(READER, SELECT, deadline=0.5)
    assert caught.value.delivery == "NOT_SENT"
    assert 0.5 <= time.monotonic() - start < 30
