"""Decisions without a broker and without vectors in the conformance kit: times, repeats and printed texts."""

from __future__ import annotations

from concurrent.futures import Future

import grpc
import pytest
from broker import SELECT
from cardbroker.v1 import broker_pb2, error_pb2, reader_pb2, transmit_pb2
from google.rpc import error_details_pb2

import cardbroker
from cardbroker._conversation import Conversation, Reply, transmit_request
from cardbroker._errors import FailedError, is_lost, lost
from cardbroker._pipeline import Pipeline
from cardbroker._status import of_failure, of_status
from cardbroker._steps import Step
from cardbroker._times import CARD_TIME, MAX_DEADLINE, deadline_of, duration
from cardbroker._unit import unit


@pytest.mark.parametrize("wait", [0, 30, 600, 24 * 3600])
def test_the_default_deadline_adds_the_card_time_to_the_wait(wait: float) -> None:
    assert deadline_of(wait, None) >= wait + CARD_TIME
    assert deadline_of(wait, 5) == 5
    assert deadline_of(None, 1e12) == MAX_DEADLINE


def test_a_unit_without_a_known_card_is_not_repeated() -> None:
    steps = unit("readers/desk", [SELECT], lambda: 0.0, repeatable=True)
    assert next(steps).method == "GetReader"
    empty = reader_pb2.GetReaderResponse(reader=reader_pb2.Reader(name="readers/desk"))
    assert steps.send(empty).method == "Transmit"
    first = lost("")
    with pytest.raises(cardbroker.FailedError) as caught:
        steps.send(first)
    assert caught.value is first


def repeated(lifetime: float, lost_after: float) -> list[str]:
    """The calls of a unit whose connection is lost each time, this long after its start."""
    now = 0.0
    steps = unit("readers/desk", [SELECT], lambda: now, repeatable=True, any_card=True, deadline=1000)
    step, calls = next(steps), []
    answer = broker_pb2.GetBrokerResponse()
    answer.limits.outcome_lifetime.FromNanoseconds(round(lifetime * 1e9))
    with pytest.raises(cardbroker.FailedError) as caught:
        while True:
            calls.append(step.method)
            now += 0 if step.is_query else lost_after
            step = steps.send(answer if step.is_query else lost("gone"))
    assert caught.value.delivery == "UNKNOWN"
    return calls


def test_repeats_end_at_half_the_lifetime_of_outcomes() -> None:
    assert repeated(600, 1) == ["GetBroker", *["Transmit"] * 4]
    assert repeated(600, 200) == ["GetBroker", *["Transmit"] * 2]
    assert repeated(600, 300) == ["GetBroker", "Transmit"]
    assert repeated(0, 0) == ["GetBroker", "Transmit"]


def test_the_time_for_repeats_starts_before_the_first_attempt_connects() -> None:
    now = 100.0
    steps = unit("readers/desk", [SELECT], lambda: now, repeatable=True, any_card=True, deadline=1000)
    assert next(steps).method == "GetBroker"
    answer = broker_pb2.GetBrokerResponse()
    answer.limits.outcome_lifetime.FromSeconds(600)
    now = 110.0
    assert steps.send(answer).method == "Transmit"
    # The shell connects, sends the unit and loses the connection meanwhile.
    now = 250.0
    assert steps.send(lost("gone")).latest == 110 + 300


def test_a_repeat_does_not_begin_after_its_latest_start() -> None:
    step = Step(transmit_pb2.TransmitRequest(), end=100, latest=50)
    assert step.timeout(50) == 50
    for now in (51, 100):
        with pytest.raises(cardbroker.FailedError) as caught:
            step.timeout(now)
        assert caught.value.delivery == "NOT_SENT"


def test_look_ups_and_the_unit_share_one_deadline() -> None:
    steps = unit("Desk 1", [SELECT], lambda: 7.0, deadline=5)
    look_up = next(steps)
    assert (look_up.method, look_up.timeout(7), look_up.timeout(11)) == ("ListReaders", 5, 1)
    found = reader_pb2.ListReadersResponse(readers=[reader_pb2.Reader(name="readers/a", display_name="Desk 1")])
    assert steps.send(found).timeout(11) == 1


def test_an_unimplemented_method_points_to_another_server_or_version() -> None:
    error = of_status(grpc.StatusCode.UNIMPLEMENTED, "no", ())
    assert str(error) == "the server at the endpoint is not cardbrokerd, or an older version"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN])
def test_no_text_of_a_status_means_not_sent(code: grpc.StatusCode) -> None:
    error = of_status(code, "failed to connect to all addresses; Connection refused", ())
    assert (type(error), error.delivery) == (cardbroker.FailedError, "UNKNOWN")
    assert is_lost(error)


def test_a_delivery_in_a_trailer_comes_from_the_broker() -> None:
    error = of_status(grpc.StatusCode.UNAVAILABLE, "", [("cardbroker-delivery", "unknown")])
    assert not is_lost(error)


def test_standard_details_fill_gaps_of_the_trailers() -> None:
    status = error_pb2.StatusDetails()
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration(2)))
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", status.SerializeToString()),
        ("cardbroker-reason", "QUEUE_FULL"),
    ]
    error = of_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers)
    assert (error.reason, error.retry_after, error.delivery) == ("QUEUE_FULL", 2, "UNKNOWN")


@pytest.mark.parametrize("tries", [None, 0, 2])
def test_a_number_of_tries_may_be_absent(tries: int | None) -> None:
    failure = error_pb2.Failure(reason=error_pb2.ERROR_REASON_PIN_KNOWN_WRONG, tries_left=tries)
    assert of_failure(failure).tries_left == tries


def test_a_failure_in_a_session_without_code_is_unknown() -> None:
    assert of_failure(error_pb2.Failure(reason=error_pb2.ERROR_REASON_NO_CARD)).code == "UNKNOWN"


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        (error_pb2.DELIVERY_NOT_SENT, ["NOT_SENT", "NOT_SENT", "NOT_SENT"]),
        (error_pb2.DELIVERY_UNKNOWN, ["UNKNOWN", "UNKNOWN", "NOT_SENT"]),
        (error_pb2.DELIVERY_EXECUTED, ["EXECUTED", "NOT_SENT", "NOT_SENT"]),
    ],
)
def test_a_sessions_end_has_the_brokers_delivery(delivery: error_pb2.Delivery.ValueType, expected: list[str]) -> None:
    conversation = Conversation(lambda _: None)
    waiters: list[Future[Reply]] = [Future() for _ in range(3)]
    for number, waiter in enumerate(waiters):
        request = transmit_request([SELECT])
        conversation.send(request, 0, waiter)
        if number < 2:
            conversation.on_write(request)
    failure = error_pb2.Failure(reason=error_pb2.ERROR_REASON_CARD_REMOVED, delivery=delivery)
    conversation.end(FailedError(of_failure(failure), is_reported=True))
    outcomes = [waiter.result(0).outcome for waiter in waiters]
    assert [getattr(outcome, "delivery", None) for outcome in outcomes] == expected
    assert conversation.ended
    assert conversation.ended.delivery == "NOT_SENT"


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="wait_for_cards"):
        unit("readers/desk", [SELECT], lambda: 0.0, wait_for_cards=True)  # type: ignore[call-arg]


def test_an_enum_is_named_by_its_word_only() -> None:
    for card in ("1", "7", ""):
        with pytest.raises(cardbroker.InvalidError, match="none of REQUIRED") as caught:
            unit("readers/desk", [SELECT], lambda: 0.0, card=card)  # type: ignore[arg-type]
        assert caught.value.field_violations[0].field == "turn.card"


def test_an_unexplained_preceding_failed_counts_as_a_failure() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.send(0, None)
    assert pipeline.answer(1, "PRECEDING_FAILED") == (None, 1)
    assert pipeline.send(1, None) == (2, True)


def test_neither_bytes_nor_their_number_are_printed() -> None:
    secret = b"12345678" * 7
    command = cardbroker.Command(secret)
    result = cardbroker.CommandResult(secret, 0x9000)
    outcome = cardbroker.Transmitted((result,), "insertion")
    error = cardbroker.StoppedError(1, cardbroker.Failure("why", "STATUS_WORD"), outcome)
    for printed in (repr(command), str(command), repr(result), str(result), repr(outcome), repr(error), str(error)):
        assert "1234" not in printed
        assert "56" not in printed
        assert "bytes" not in printed
    assert repr(command) == "Command(apdu)"
    assert repr(result) == "CommandResult(apdu, 9000)"
