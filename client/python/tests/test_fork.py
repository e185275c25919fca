"""Programs that fork while they use the client; `fork_script.py` is what they do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from broker import READER, SELECT, Broker

import cardbroker

SCRIPT = Path(__file__).parent / "fork_script.py"
REFUSED = "belongs to the process that this one was forked from: open one here"


def run(broker: Broker, scene: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, cardbroker.ENDPOINT_VARIABLE: broker.endpoint}
    command = [sys.executable, str(SCRIPT), scene]
    # A child that is left behind holds the output, so that goes to a file.
    with (broker.folder / "out").open("w+") as out:
        process = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=120
        )
        out.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read())


@pytest.mark.parametrize("scene", ["threads", "tasks", "pyscard"])
def test_children_and_their_parent_go_on(broker: Broker, client: cardbroker.Client, scene: str) -> None:
    assert client.readers()
    ran = run(broker, scene)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-1] == "the parent went on"
    assert REFUSED in ran.stdout
    if scene == "tasks":
        assert "cardbroker.aio cannot be used in a process that was forked" in ran.stdout


def test_a_child_holds_nothing_of_a_dead_parent(broker: Broker, client: cardbroker.Client) -> None:
    ran = run(broker, "dies")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (-9, "True")
    assert client.transmit(READER, SELECT, wait_timeout=5).results[0].status_word == 0x9000
