"""The example programs, run as users run them, and their excerpts in the README."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from broker import READER, Broker, until

import cardbroker

CLIENT = Path(__file__).parent.parent
READERS = (READER, "readers/simulated-reader-01")


def program(broker: Broker, name: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, cardbroker.ENDPOINT_VARIABLE: broker.endpoint}
    command = [os.environ["CARDBROKER_PROGRAMS"] + "/" + name, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def output(broker: Broker, name: str, *arguments: str) -> str:
    with program(broker, name, *arguments) as process:
        text = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return text


def test_the_first_program_selects_and_reads(broker: Broker) -> None:
    lines = output(broker, "first").splitlines()
    assert lines[1] == "9000 b'Simulated record'"
    assert lines[0].startswith("9000 b'o")


def test_the_session_program_reads_behind_the_pin(broker: Broker) -> None:
    assert output(broker, "session") == "b'Only for those who know the PIN.'\n"


def test_the_pyscard_program_selects_through_the_broker(broker: Broker, client: cardbroker.Client) -> None:
    until(lambda: client.readers()[0].state == "READY")
    assert output(broker, "stock") == "6113\n"


def test_the_following_program_prints_states(broker: Broker, client: cardbroker.Client) -> None:
    assert client.readers()
    with program(broker, "follow") as process:
        assert process.stdout
        assert {process.stdout.readline(), process.stdout.readline()} == {f"{name} READY\n" for name in READERS}
        process.kill()


def test_the_readme_shows_excerpts_of_the_examples() -> None:
    examples = [file.read_text() for file in (CLIENT / "examples").glob("*.py")]
    parts = (CLIENT / "README.md").read_text().split("```")
    assert len(parts) % 2 == 1
    for part in parts[1::2]:
        language, block = part.split("\n", 1)
        assert language in ("python", "sh", "text"), part
        assert language != "python" or any(block in example for example in examples), block


def test_the_generated_code_alone_can_use_the_broker(broker: Broker, client: cardbroker.Client) -> None:
    assert client.readers()
    assert json.loads(output(broker, "bare", READER)) == {"readers": 2, "status_word": 0x9000}


@pytest.mark.parametrize("manner", [[], ["--session"]])
def test_pairs_of_two_programs_stay_whole(broker: Broker, client: cardbroker.Client, manner: list[str]) -> None:
    assert client.readers()
    programs = [program(broker, "pairs", READER, "--seconds", "1", *manner) for _ in range(2)]
    for process in programs:
        with process:
            counted = json.loads(process.communicate(timeout=60)[0])
        assert counted["pairs"] > 10
        assert counted["broken"] == 0


def test_a_killed_program_loses_its_lease(broker: Broker, client: cardbroker.Client) -> None:
    assert client.readers()
    with program(broker, "pairs", READER, "--hold") as process:
        assert process.stdout
        assert json.loads(process.stdout.readline()) == {"holding": True}
        with pytest.raises(cardbroker.FailedError, match="turn"):
            client.session(READER, wait_timeout=0).open()
        process.kill()
    with client.session(READER):
        until(lambda: process.poll() is not None)


def test_a_program_may_end_with_everything_open(broker: Broker, client: cardbroker.Client) -> None:
    assert client.readers()
    program = f"""
import cardbroker
client = cardbroker.connect()
watch, turns = client.watch(), client.watch_turn()
print(next(watch), next(turns))
session = client.session("{READER}").open()
"""
    environment = {**os.environ, cardbroker.ENDPOINT_VARIABLE: broker.endpoint}
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, timeout=20, check=True
        )
        assert ran.stderr == b""
