"""The example programs, as users run them, and the README that shows them."""

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


@pytest.mark.parametrize("name", ["first", "bare"])
def test_the_readme_shows_the_program_as_it_is(name: str) -> None:
    source = (CLIENT / "examples" / f"{name}.py").read_text().split('"""\n\n', 1)[1]
    assert f"```python\n{source}```" in (CLIENT / "README.md").read_text()


def test_the_generated_code_alone_will_do(broker: Broker, client: cardbroker.Client) -> None:
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


def test_a_program_that_is_killed_gives_its_card_back(broker: Broker, client: cardbroker.Client) -> None:
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
