"""The fixtures: a broker and a client of it. No test uses the broker or the group of the user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker import Broker, until

import cardbroker


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (cardbroker.ENDPOINT_VARIABLE, cardbroker.GROUP_VARIABLE, cardbroker.TOKEN_FILE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with two simulated readers, whose log holds no PIN."""
    with Broker() as broker:
        yield broker
        assert "12345678" not in broker.log()


@pytest.fixture
def client(broker: Broker) -> Iterator[cardbroker.Client]:
    """A client of the test's broker."""
    with cardbroker.connect(broker.endpoint) as client:
        until(lambda: all(reader.state == "READY" for reader in client.readers()))
        yield client
