"""Programs that fork while they use the client; `fork_script.py` is the program."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from broker import READER, SELECT, Broker

import cardbroker
from cardbroker import _process
from cardbroker._endpoint import Endpoint
from cardbroker._relay import RelayChannel, RelayError

SCRIPT = Path(__file__).parent / "fork_script.py"
REFUSED = "belongs to the parent of this forked process: open a new one here"


def run(broker: Broker, scene: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, cardbroker.ENDPOINT_VARIABLE: broker.endpoint}
    command = [sys.executable, str(SCRIPT), scene]
    # The output goes to a file, because an orphaned child would keep a pipe open.
    with (broker.folder / "out").open("w+") as out:
        process = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=120
        )
        out.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read())


@pytest.mark.parametrize("scene", ["threads", "tasks", "pyscard"])
def test_children_and_their_parent_keep_working(broker: Broker, client: cardbroker.Client, scene: str) -> None:
    assert client.readers()
    ran = run(broker, scene)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-1] == "the parent still works"
    assert REFUSED in ran.stdout
    if scene == "tasks":
        assert "cardbroker.aio cannot be used in a process that was forked" in ran.stdout


def test_a_child_holds_nothing_of_a_dead_parent(broker: Broker, client: cardbroker.Client) -> None:
    ran = run(broker, "dies")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (-9, "True")
    assert client.transmit(READER, SELECT, wait_timeout=5).results[0].status_word == 0x9000


def test_a_child_keeps_its_connections_to_other_hosts() -> None:
    """A server at another address listens on the broker's port too."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as other, socket.create_connection(("127.0.0.2", port)) as kept:
            let_go = socket.create_connection(("127.0.0.1", port))
            _process._let_go({Endpoint(host="127.0.0.1", port=port)})
            with other.accept()[0] as peer:
                kept.sendall(b"still here")
                assert peer.recv(10) == b"still here"
            assert not stat.S_ISSOCK(os.fstat(let_go.fileno()).st_mode)
            let_go.close()


@pytest.mark.parametrize(
    ("host", "address", "is_at"),
    [
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "192.0.2.1", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::1", False),
        ("[::1]", "::1", True),
        ("[::1]", "2001:db8::1", False),
    ],
)
def test_a_connection_is_the_brokers_by_address_and_port(host: str, address: str, is_at: bool) -> None:
    endpoint = Endpoint(host=host, port=443)
    assert _process._is_at(endpoint, (address, 443)) is is_at
    assert not _process._is_at(endpoint, (address, 444))


def test_a_relay_outlives_calls_that_end_while_they_are_cancelled() -> None:
    channel = RelayChannel("unix:/nowhere/a.sock", [], None)
    call = channel.stream_stream("/a/b", bytes, bytes)
    with ThreadPoolExecutor(4) as threads:

        def cancelled(_: int) -> None:
            started = call([b""] * 5, timeout=5)
            started.cancel()
            with pytest.raises(RelayError):
                next(started)

        for outcome in [threads.submit(cancelled, number) for number in range(300)]:
            outcome.result(60)
    relay = channel._relay
    assert relay
    assert relay._process.poll() is None
    assert not relay.is_gone
    channel.close()
