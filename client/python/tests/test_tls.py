"""TLS on the broker's TCP port: the broker of the token file is reached, and no other program."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import Broker, until

import cardbroker
import cardbroker.aio
from cardbroker._channel import options
from cardbroker._settings import Settings


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    """A broker with a TCP port."""
    broker = Remote(tmp_path)
    with broker:
        yield broker


class Remote(Broker):
    """A broker on a TCP port, with the file of a token that may do everything."""

    def __init__(self, folder: Path) -> None:
        self.tokens = folder / "tokens"
        self.token_file = self.make_token("tests")
        rules = folder / "rules.toml"
        rules.write_text("rule = [{ name = 'tests', principals = ['token:tests'], allow = ['all'] }]")
        super().__init__("--tcp", "127.0.0.1:0", "--tokens", str(self.tokens), "--config", str(rules))

    def make_token(self, name: str) -> Path:
        file = self.tokens.with_name(f"{name}.token")
        command = ["token", "new", name, "--tokens", str(self.tokens), "--out", str(file)]
        subprocess.run([os.environ["CARDBROKERD"], *command], check=True, capture_output=True)
        return file

    @property
    def port(self) -> int:
        until(lambda: " tcp=127.0.0.1:" in self.log())
        return int(self.log().rpartition(" tcp=127.0.0.1:")[2].split()[0])


def test_the_broker_of_the_token_file_is_reached(remote: Remote) -> None:
    for host in ("127.0.0.1", "localhost"):
        endpoint = f"https://{host}:{remote.port}"
        with cardbroker.connect(endpoint, token_file=remote.token_file) as client:
            assert client.broker().caller.principal == "token tests"
            assert str(client.endpoint) == endpoint


def test_asyncio_reaches_it_as_well(remote: Remote) -> None:
    async def ask() -> str:
        endpoint = f"https://127.0.0.1:{remote.port}"
        async with await cardbroker.aio.connect(endpoint, token_file=remote.token_file) as client:
            return (await client.broker()).caller.principal

    assert asyncio.run(ask()) == "token tests"


def test_a_forked_child_reaches_it_as_well(remote: Remote) -> None:
    with cardbroker.connect(f"https://127.0.0.1:{remote.port}", token_file=remote.token_file) as client:
        assert client.broker()
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if client.broker().caller.principal == "token tests" else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


def test_a_program_in_its_place_gets_nothing(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Remote(folder)
    with other:
        text = f"https://127.0.0.1:{remote.port} is not the broker of the token file: it has another certificate or no"
        with pytest.raises(cardbroker.NotRunningError, match=re.escape(text)) as caught:
            cardbroker.connect(f"https://127.0.0.1:{remote.port}", token_file=other.token_file, connect_timeout=20)
        assert caught.value.delivery == "NOT_SENT"
    # gRPC itself refuses as well: here it reconnects to a program that has taken the port.
    client = cardbroker.connect(f"https://127.0.0.1:{remote.port}", token_file=remote.token_file, connect_timeout=0.5)
    with client:
        assert client.broker()
        port = remote.port
        remote.stop()
        seen = bytearray()
        with socket.create_server(("127.0.0.1", port)) as server:

            def listen() -> None:
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    with connection:
                        # Reads first: a client that ends with an unread answer resets the connection.
                        seen.extend(connection.recv(4096))
                        connection.sendall(b"\0\0\0\x04\0\0\0\0\0")
                        connection.settimeout(0.2)
                        try:
                            while data := connection.recv(4096):
                                seen.extend(data)
                        except OSError:
                            pass

            threading.Thread(target=listen, daemon=True).start()
            with pytest.raises(cardbroker.NotRunningError, match="is not the broker of the token file"):
                client.broker()
            server.shutdown(socket.SHUT_RDWR)
        token = remote.token_file.read_text().splitlines()[0]
        assert seen[:2] == b"\x16\x03"
        assert token.encode() not in seen


def test_a_token_of_another_certificate_is_not_sent(remote: Remote) -> None:
    endpoint = f"https://127.0.0.1:{remote.port}"
    with cardbroker.connect(endpoint, token_file=remote.token_file) as client:
        made = remote.token_file.read_text()
        first, begin, body, *rest = made.splitlines()
        remote.token_file.write_text("\n".join([first, begin, body[::-1], *rest]))
        with pytest.raises(cardbroker.InvalidError, match="has another certificate than before: connect anew"):
            client.broker()
        remote.token_file.write_text(made)
        assert client.broker().caller.principal == "token tests"


@pytest.mark.parametrize(("answers", "found"), [(True, "the connection was closed"), (False, "no answer in time")])
def test_an_end_or_silence_in_the_handshake_is_no_other_program(remote: Remote, answers: bool, found: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if answers:
                    # Reads the greeting, so that the end is no reset.
                    connection.recv(4096)
                    connection.close()
                else:
                    held.append(connection)

        threading.Thread(target=listen, daemon=True).start()
        endpoint = f"https://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(cardbroker.NotRunningError) as caught:
            cardbroker.connect(endpoint, token_file=remote.token_file, connect_timeout=0.3)
        assert str(caught.value) == f"no broker at {endpoint} ({found})"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def test_the_name_in_the_certificate_is_localhost_beyond_loopback_too() -> None:
    settings = Settings.of("https://192.168.0.1:7", None, "/nowhere", 5, {})
    endpoint = settings.targets[0].endpoint
    assert (endpoint.target, ("grpc.ssl_target_name_override", "localhost") in options(endpoint, 5)) == (
        "dns:///192.168.0.1:7",
        True,
    )
