"""Programs written for pyscard that run through the broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import READER, Broker, fault, until
from smartcard import scard
from smartcard.CardConnection import CardConnection
from smartcard.CardConnectionDecorator import CardConnectionDecorator
from smartcard.Exceptions import (
    CardConnectionException,
    CardServiceNotFoundException,
    NoCardException,
    SmartcardException,
)
from smartcard.ReaderMonitoring import ReaderMonitor, ReaderObserver
from smartcard.System import readergroups, readers

import cardbroker
import cardbroker.pyscard

SCRIPT = Path(__file__).parent / "stock_script.py"
READ_RECORD = [0x00, 0xB2, 0x01, 0x04, 0x10]
VERIFY = [0x00, 0x20, 0x00, 0x80, 0x08, *b"12345678"]
PROTECTED = [0x00, 0xB0, 0x81, 0x00, 0x20]


@pytest.fixture
def registered(client: cardbroker.Client) -> Iterator[cardbroker.Client]:
    """A client that pyscard uses too, so that both have one isolation group."""
    cardbroker.pyscard.register(client)
    yield client
    cardbroker.pyscard.register()


def connected() -> CardConnectionDecorator:
    connection: CardConnectionDecorator = readers()[0].createConnection()
    connection.connect()
    return connection


def refusal(error: SmartcardException) -> tuple[int, str | None]:
    """The PC/SC return code, and the broker's reason behind it."""
    assert isinstance(error.__cause__, cardbroker.CardbrokerError)
    return error.hresult, error.__cause__.reason


def test_a_stock_program_runs_with_one_added_line(broker: Broker, client: cardbroker.Client) -> None:
    assert client.readers()
    register = "import cardbroker.pyscard; cardbroker.pyscard.register()\n"
    ran = subprocess.run(
        [sys.executable, "-c", register + SCRIPT.read_text()],
        env={**os.environ, cardbroker.ENDPOINT_VARIABLE: broker.endpoint},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "reader Simulated Reader 00",
        "atr 3B 88 01 80 66 43 42 00 00 00 00 6E",
        "T1 True",
        "select [] 61 13",
        "response 19 bytes 90 00",
        "after reconnect (144, 0)",
        "disconnected: Card not connected",
        "found Simulated Reader 01",
        "connecting to Simulated Reader 01",
        "> 80 10 00 00 04",
        "< 00 00 00 01 90 00",
        "disconnecting from Simulated Reader 01",
        "no new card",
        "+ 3B 88 01 80 66 43 42 00 00 00 00 6E / Simulated Reader 00",
        "+ 3B 08 80 66 43 42 00 01 00 00 / Simulated Reader 01",
        "- 3B 88 01 80 66 43 42 00 00 00 00 6E / Simulated Reader 00",
        "+ 3B 88 01 80 66 43 42 00 00 00 01 6F / Simulated Reader 00",
        "- 3B 88 01 80 66 43 42 00 00 00 01 6F / Simulated Reader 00",
        "no card: 8010000C",
        # Printed at the end, by the card service.
        "release from Simulated Reader 01",
    ]


def test_the_end_of_a_connection_resets_or_leaves_the_card(registered: cardbroker.Client) -> None:
    for disposition, status_word in ((None, 0x6982), (scard.SCARD_LEAVE_CARD, 0x9000)):
        connection = readers()[0].createConnection()
        connection.connect(disposition=disposition)
        connection.transmit(VERIFY)
        with pytest.raises(cardbroker.FailedError) as caught:
            registered.transmit(READER, bytes(READ_RECORD), wait_timeout=0)
        assert caught.value.reason == "QUEUE_TIMEOUT"
        connection.disconnect()
        assert registered.transmit(READER, bytes(PROTECTED)).results[0].status_word == status_word


def test_a_reconnect_resets_the_card_or_leaves_it(registered: cardbroker.Client) -> None:
    assert registered
    connection = connected()
    connection.transmit(VERIFY)
    connection.reconnect(disposition=scard.SCARD_LEAVE_CARD)
    assert connection.transmit(PROTECTED)[1:] == (0x90, 0x00)
    connection.reconnect(disposition=scard.SCARD_UNPOWER_CARD)
    assert connection.transmit(PROTECTED)[1:] == (0x69, 0x82)
    connection.disconnect()


def test_a_revoked_connection_fails_and_can_reconnect(registered: cardbroker.Client) -> None:
    connection = connected()
    # Ends the session now, as the broker would after the idle timeout.
    connection.component._session.abort()
    until(lambda: not connection.component._session.is_open)
    with pytest.raises(CardConnectionException):
        connection.transmit(READ_RECORD)
    connection.reconnect()
    assert connection.transmit(READ_RECORD)[1:] == (0x90, 0x00)
    connection.release()
    assert registered.transmit(READER, bytes(READ_RECORD)).results[0].status_word == 0x9000


@pytest.mark.parametrize(
    ("disposition", "reset"),
    [
        (None, "WARM"),
        (scard.SCARD_RESET_CARD, "WARM"),
        (scard.SCARD_UNPOWER_CARD, "COLD"),
        (scard.SCARD_LEAVE_CARD, None),
    ],
)
def test_a_reconnect_after_a_loss_keeps_the_disposition(
    registered: cardbroker.Client, monkeypatch: pytest.MonkeyPatch, disposition: int | None, reset: str | None
) -> None:
    connection = readers()[0].createConnection()
    connection.connect(disposition=scard.SCARD_LEAVE_CARD)
    connection.component._session.abort()
    until(lambda: not connection.component._session.is_open)
    asked: list[dict[str, object]] = []
    session = registered.session

    def recorded(reader: str, **options: object) -> cardbroker.OpenSession:
        asked.append(options)
        return session(reader, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(registered, "session", recorded)
    connection.reconnect(disposition=disposition)
    assert (asked[0]["disposition"], asked[0].get("reset_before")) == ("LEAVE", reset)
    connection.transmit(VERIFY)
    connection.disconnect()
    # The card was left, by the disposition of `connect`.
    assert registered.transmit(READER, bytes(PROTECTED)).results[0].status_word == 0x9000


def test_errors_are_pyscards_own_with_the_brokers_as_cause(registered: cardbroker.Client) -> None:
    connection = connected()
    with pytest.raises(CardConnectionException) as failed:
        connection.transmit([])
    assert refusal(failed.value) == (scard.SCARD_E_INVALID_PARAMETER, "INVALID_REQUEST")
    with pytest.raises(CardConnectionException) as removed:
        connection.transmit(list(fault(1, 0, 0xFFFF)))
    assert refusal(removed.value) == (scard.SCARD_W_REMOVED_CARD, "CARD_REMOVED")
    connection.disconnect()
    until(lambda: registered.readers()[0].state == "EMPTY")
    with pytest.raises(NoCardException) as empty:
        connected()
    assert refusal(empty.value) == (scard.SCARD_E_NO_SMARTCARD, "NO_CARD")
    with pytest.raises(CardConnectionException):
        connection.getATR()


def test_bytes_without_apdu_structure_reach_the_card_unchanged(registered: cardbroker.Client) -> None:
    assert registered
    connection = connected()
    assert connection.transmit([0x00])[1] == 0x67
    connection.disconnect()


def test_unsupported_features_raise_their_names(registered: cardbroker.Client) -> None:
    assert registered
    connection = connected()
    for call in (
        lambda: connection.getAttrib(scard.SCARD_ATTR_ATR_STRING),
        lambda: connection.control(0x42000D48, []),
        lambda: readers(["SCard$DefaultReaders"]),
        readergroups,
        lambda: connection.connect(mode=scard.SCARD_SHARE_DIRECT),
    ):
        with pytest.raises(SmartcardException, match=r"cardbroker\.pyscard does not adapt it") as caught:
            call()
        assert caught.value.hresult == scard.SCARD_E_UNSUPPORTED_FEATURE
    connection.disconnect()


def test_another_protocol_than_the_cards_is_refused(registered: cardbroker.Client) -> None:
    connection = readers()[0].createConnection()
    with pytest.raises(CardConnectionException) as caught:
        connection.connect(CardConnection.T0_protocol)
    assert caught.value.hresult == scard.SCARD_E_PROTO_MISMATCH
    # The card is free again.
    registered.transmit(READER, bytes(READ_RECORD), wait_timeout=1)
    connection.connect(CardConnection.T1_protocol)
    connection.disconnect()
    with pytest.raises(SmartcardException):
        connection.connect(mode=scard.SCARD_SHARE_DIRECT)


def test_reader_observers_see_all_readers(registered: cardbroker.Client) -> None:
    assert registered
    added: list[str] = []

    class Observer(ReaderObserver):
        def update(self, observable: object, handlers: tuple[list[object], list[object]]) -> None:
            added.extend(map(str, handlers[0]))

    monitor, observer = ReaderMonitor(period=0.01), Observer()
    monitor.addObserver(observer)
    until(lambda: len(added) == 2)
    monitor.deleteObserver(observer)
    assert added == ["Simulated Reader 00", "Simulated Reader 01"]


def test_without_a_broker_there_are_no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cardbroker.ENDPOINT_VARIABLE, "unix:/nowhere/a.sock")
    monkeypatch.setattr("cardbroker.pyscard._broker.connect", lambda: cardbroker.connect(connect_timeout=0.1))
    cardbroker.pyscard.register()
    with pytest.raises(CardServiceNotFoundException, match="no broker at unix:/nowhere/a") as caught:
        readers()
    assert caught.value.hresult == scard.SCARD_E_NO_SERVICE
