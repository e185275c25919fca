"""What is decided without any broker: times, repeats, restarts after failures, and what errors say."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from broker import SELECT
from cardbroker.v1 import reader_pb2, transmit_pb2
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

import cardbroker
from cardbroker._errors import invalid, lost, of_status
from cardbroker._pipeline import Pipeline
from cardbroker._times import CARD_TIME, MAX_DEADLINE, times
from cardbroker._unit import Attempt, Outcome, unit
from cardbroker._watching import Watching

ENDPOINT = cardbroker.Endpoint(path="/a.sock")


def test_the_wait_ends_before_the_deadline_by_a_tenth_but_at_least_50_ms() -> None:
    assert times(30, 10) == (10, 9)
    assert times(None, 0.1) == (0.1, 0.05)
    assert times(None, 0.02)[1] == 0


@pytest.mark.parametrize("wait", [0, 30, 600, 24 * 3600])
def test_without_a_deadline_a_wait_keeps_its_length_and_the_card_gets_its_time(wait: float) -> None:
    deadline, shortened = times(wait, None)
    assert shortened == wait
    assert deadline >= wait + CARD_TIME
    assert times(1e12, 1e12)[0] == MAX_DEADLINE


def run(answer: Callable[[int], Outcome], **options: bool) -> tuple[list[Attempt], object]:
    """The attempts of a unit whose n-th one has this outcome, and what the unit comes to."""
    attempts = unit("readers/desk", [SELECT], lambda: 0.0, **options)  # type: ignore[arg-type]
    made = [next(attempts)]
    # The request is changed for each attempt.
    ids = [bytes(made[0].request.request_id)]
    try:
        while True:
            made.append(attempts.send(answer(len(made))))
            ids.append(bytes(made[-1].request.request_id))
    except StopIteration as done:
        assert len(set(ids)) == 1
        return made, done.value
    except cardbroker.CardbrokerError as error:
        return made, error


def test_a_repeatable_unit_comes_back_under_one_id_until_its_outcome_is_told() -> None:
    done = transmit_pb2.TransmitResponse(replayed=True)
    made, outcome = run(lambda number: lost("") if number < 4 else done, repeatable=True)
    assert (len(made), len(made[0].request.request_id)) == (4, 16)
    assert isinstance(outcome, cardbroker.Transmitted)
    assert outcome.replayed
    assert made[0].pause == 0
    assert 0.05 <= made[1].pause <= 0.1


def test_repeats_are_few_and_others_are_not_repeated() -> None:
    first = lost("")
    made, outcome = run(lambda _: first, repeatable=True)
    assert (len(made), outcome) == (4, first)
    made, outcome = run(lambda _: first)
    assert (len(made), outcome, bytes(made[0].request.request_id)) == (1, first, b"")


def test_a_refused_repeat_says_nothing_of_the_first_attempt() -> None:
    first = lost("")
    assert run(lambda number: first if number == 1 else invalid("x", "refused"), repeatable=True)[1] is first
    away = cardbroker.NotRunningError(ENDPOINT, "")
    assert len(run(lambda number: first if number == 1 else away, repeatable=True)[0]) == 4


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="wait_for_cards"):
        unit("readers/desk", [SELECT], lambda: 0.0, wait_for_cards=True)  # type: ignore[call-arg]


def test_the_first_message_sent_in_the_light_of_a_failure_restarts_and_only_that_one() -> None:
    pipeline: Pipeline[None] = Pipeline()
    assert [pipeline.send(0, None), pipeline.send(0, None)] == [(1, False), (2, False)]
    assert pipeline.answer(2, None) is None, "not its turn"
    assert pipeline.answer(1, "DENIED") == (None, 1)
    assert pipeline.send(0, None) == (3, False), "decided on before the failure was known"
    assert [pipeline.send(1, None), pipeline.send(1, None)] == [(4, True), (5, False)]
    assert [pipeline.answer(number, "PRECEDING_FAILED") for number in (2, 3)] == [(None, 1)] * 2
    assert pipeline.answer(4, "") == (None, 2), "a failure after the restart needs another"
    assert pipeline.send(1, None) == (6, False)
    assert pipeline.send(2, None) == (7, True)
    assert len(pipeline.drain()) == 3


def test_what_the_broker_counts_as_a_failure_is_one() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.send(0, None)
    assert pipeline.answer(1, "PRECEDING_FAILED") == (None, 1)
    assert pipeline.send(1, None) == (2, True)


def test_details_give_reason_delivery_reader_field_and_pause() -> None:
    info = error_details_pb2.ErrorInfo(
        reason="HELD_ELSEWHERE", domain="cardbroker", metadata={"delivery": "not_sent", "reader": "readers/x"}
    )
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(2)
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="commands[3].apdu")
    status = status_pb2.Status(details=[packed(info), packed(retry), packed(bad)])
    trailers = [("grpc-status-details-bin", status.SerializeToString())]
    error = of_status(ENDPOINT, grpc.StatusCode.UNAVAILABLE, "held", trailers)
    assert isinstance(error, cardbroker.FailedError)
    assert (error.reason, error.delivery, error.reader) == ("HELD_ELSEWHERE", "not_sent", "readers/x")
    assert (error.retry_after, error.field, str(error)) == (2.0, "commands[3].apdu", "held")


def packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest) -> Any:
    detail = Any()
    detail.Pack(message)
    return detail


def test_plain_trailers_do_where_details_are_missing_or_damaged() -> None:
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", b"\xff"),
        ("cardbroker-reason", "NO_CARD"),
        ("cardbroker-delivery", "not_sent"),
    ]
    error = of_status(ENDPOINT, grpc.StatusCode.FAILED_PRECONDITION, "empty", trailers)
    assert (error.reason, error.delivery) == ("NO_CARD", "not_sent")


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE", "UNKNOWN", "INTERNAL"])
def test_without_the_brokers_word_the_fate_is_unknown(code: str) -> None:
    error = of_status(ENDPOINT, grpc.StatusCode[code], "", None)
    assert (error.reason, error.delivery) == (None, "unknown")


def test_a_second_snapshot_tells_only_what_differs() -> None:
    watching = Watching()

    def told(*readers: tuple[str, str]) -> list[str]:
        snapshot = [reader_pb2.Reader(name=name, insertion_id=insertion) for name, insertion in readers]
        watching.take(reader_pb2.WatchReadersResponse(snapshot=reader_pb2.ReadersSnapshot(readers=snapshot)))
        events = [watching.pending.popleft() for _ in range(len(watching.pending))]
        return [f"{type(event).__name__} {getattr(event, 'reader', None) and event.reader.name}" for event in events]  # type: ignore[union-attr]

    assert told(("a", "1"), ("b", "1"), ("c", "1")) == ["Connected None", "Updated a", "Updated b", "Updated c"]
    assert told(("a", "1"), ("c", "2"), ("d", "1")) == ["Removed b", "Updated c", "Updated d"]


def test_no_byte_of_a_command_or_an_answer_is_printed() -> None:
    secret = b"12345678"
    command = cardbroker.Command(secret)
    result = cardbroker.CommandResult(secret, 0x9000, "COMMAND", 0)
    outcome = cardbroker.Transmitted((result,), "insertion")
    error = cardbroker.StoppedError(cardbroker.Stop(1, "STATUS_WORD", "not_sent", "why"), outcome)
    for printed in (repr(command), str(command), repr(result), str(result), repr(outcome), repr(error), str(error)):
        assert "1234" not in printed
    assert "8 bytes" in repr(command)
    assert "8 bytes" in repr(outcome)
