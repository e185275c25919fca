"""Watches: the events of readers, across restarts of the broker."""

from __future__ import annotations

import threading

from broker import READER, Broker, fault

import cardbroker
from cardbroker import Connected, Disconnected, Removed, Updated

SECOND = "readers/simulated-reader-01"


def test_a_watch_reports_readers_and_their_changes(client: cardbroker.Client) -> None:
    with client.watch() as watch:
        assert not watch.is_connected
        assert isinstance(next(watch), Connected)
        assert [next(watch), next(watch)] == [Updated(reader) for reader in client.readers()]
        client.transmit(READER, fault(2, 0, 0xFFFF))
        for event in watch:
            assert isinstance(event, Updated)
            if event.reader.state == "EMPTY":
                break
        assert (watch.readers[READER].insertion_id, watch.readers[SECOND].state) == ("", "READY")
    assert list(watch) == []


def test_a_watch_reports_only_differences_after_a_restart(broker: Broker, client: cardbroker.Client) -> None:
    with client.watch() as watch:
        for _ in range(3):
            next(watch)
        broker.kill()
        lost = next(watch)
        assert isinstance(lost, Disconnected)
        assert lost.error.delivery == "NOT_SENT"
        assert (watch.is_connected, set(watch.readers)) == (False, {READER, SECOND})
        broker._readers = 1
        broker.restart()
        assert isinstance(next(watch), Connected)
        gone = next(watch)
        assert isinstance(gone, Removed)
        assert gone.reader.name == SECOND
        while watch.readers[READER].state != "READY":
            next(watch)


def test_close_ends_a_waiting_watch(client: cardbroker.Client) -> None:
    watch = client.watch()
    seen: list[cardbroker.WatchEvent] = []
    known = threading.Event()

    def follow() -> None:
        for event in watch:
            seen.append(event)
            if len(seen) == 3:
                known.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert known.wait(20)
    watch.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(seen) == 3


def test_close_ends_a_watch_without_a_broker(broker: Broker, client: cardbroker.Client) -> None:
    broker.kill()
    watch = client.watch()
    assert isinstance(next(watch), Disconnected)
    thread = threading.Thread(target=next, args=(watch, None))
    thread.start()
    watch.close()
    thread.join(20)
    assert not thread.is_alive()
