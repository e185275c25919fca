"""What is decided without any broker and has no vector in the conformance kit: times, repeats, and what is printed."""

from __future__ import annotations

import pytest
from broker import SELECT
from cardbroker.v1 import reader_pb2

import cardbroker
from cardbroker._errors import lost
from cardbroker._pipeline import Pipeline
from cardbroker._times import CARD_TIME, MAX_DEADLINE, deadline_of
from cardbroker._unit import unit


@pytest.mark.parametrize("wait", [0, 30, 600, 24 * 3600])
def test_without_a_deadline_the_card_gets_its_time_behind_a_wait(wait: float) -> None:
    assert deadline_of(wait, None) >= wait + CARD_TIME
    assert deadline_of(wait, 5) == 5
    assert deadline_of(None, 1e12) == MAX_DEADLINE


def test_a_repeat_without_a_known_card_is_none() -> None:
    steps = unit("readers/desk", [SELECT], lambda: 0.0, repeatable=True)
    assert next(steps).method == "GetReader"
    empty = reader_pb2.GetReaderResponse(reader=reader_pb2.Reader(name="readers/desk"))
    assert steps.send(empty).method == "Transmit"
    first = lost("")
    with pytest.raises(cardbroker.FailedError) as caught:
        steps.send(first)
    assert caught.value is first


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="wait_for_cards"):
        unit("readers/desk", [SELECT], lambda: 0.0, wait_for_cards=True)  # type: ignore[call-arg]


def test_an_enum_is_named_by_its_word_only() -> None:
    for card in ("1", "7", ""):
        with pytest.raises(cardbroker.InvalidError, match="none of REQUIRED") as caught:
            unit("readers/desk", [SELECT], lambda: 0.0, card=card)  # type: ignore[typeddict-item]
        assert caught.value.field_violations[0].field == "turn.card"


def test_what_the_broker_counts_as_a_failure_is_one() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.send(0, None)
    assert pipeline.answer(1, "PRECEDING_FAILED") == (None, 1)
    assert pipeline.send(1, None) == (2, True)


def test_no_byte_of_a_command_or_an_answer_is_printed() -> None:
    secret = b"12345678"
    command = cardbroker.Command(secret)
    result = cardbroker.CommandResult(secret, 0x9000)
    outcome = cardbroker.Transmitted((result,), "insertion")
    error = cardbroker.StoppedError(1, cardbroker.Failure("why", "STATUS_WORD"), outcome)
    for printed in (repr(command), str(command), repr(result), str(result), repr(outcome), repr(error), str(error)):
        assert "1234" not in printed
    assert "8 bytes" in repr(command)
    assert "8 bytes" in repr(outcome)
