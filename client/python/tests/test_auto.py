"""The endpoint `tcp:auto`: the port, token and certificate in the endpoint file of this user's broker."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cardbroker.v1 import reader_pb2, service_pb2_grpc

import cardbroker
import cardbroker.aio
from cardbroker import _channel
from cardbroker._endpoint_file import EndpointFile, endpoint_file_place, has_ended, read_endpoint_file
from cardbroker._places import Finding, Place
from cardbroker._settings import default_targets
from cardbroker._token_file import der_of

VECTORS = json.loads((Path(__file__).parents[3] / "proto/conformance/endpoint_files.json").read_text())
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_endpoint_files_are_read_as_in_the_other_clients(case: dict[str, Any]) -> None:
    if "read" not in case:
        with pytest.raises(ValueError, match=f"^{re.escape(case['problem'])}$"):
            EndpointFile.parse(case["text"])
        return
    found = EndpointFile.parse(case["text"])
    read = {
        "endpoint": str(found.endpoint),
        "token": found.token,
        "certificate": base64.b64encode(der_of(found.certificate) or b"").decode(),
        "pid": found.pid,
    }
    assert read | ({} if found.start_time is None else {"start_time": found.start_time}) == case["read"]


def test_the_file_lies_beside_the_default_socket() -> None:
    for uid, environment, path in (
        (7, {}, "/run/user/7/cardbroker/endpoint.json"),
        (7, {"XDG_RUNTIME_DIR": "relative"}, "/run/user/7/cardbroker/endpoint.json"),
        (7, {"XDG_RUNTIME_DIR": "/a"}, "/a/cardbroker/endpoint.json"),
        (0, {"XDG_RUNTIME_DIR": "/a"}, "/run/cardbroker/endpoint.json"),
    ):
        assert endpoint_file_place(environment, uid, "linux").path == path
    place = endpoint_file_place({"LOCALAPPDATA": r"C:\Users\me\AppData\Local"}, 0, "win32")
    assert place.path == r"C:\Users\me\AppData\Local\cardbroker\endpoint.json"


def test_without_a_folder_of_local_data_no_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The current folder is no place for it.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cardbroker").mkdir()
    for name in ("cardbroker/endpoint.json", "cardbroker\\endpoint.json"):
        (tmp_path / name).write_text("{}")
    for local in ({}, *({"LOCALAPPDATA": value} for value in ("", "me", ".", "C:me", r"\me"))):
        found = read_endpoint_file(endpoint_file_place(local, 7, "win32"), 7)
        assert isinstance(found, Finding), local
        assert (found.kind, found.text.split(":")[0]) == ("missing", "no such place"), local


def test_only_on_windows_the_file_is_used_without_being_named() -> None:
    assert [str(target.endpoint) for target in default_targets({"LOCALAPPDATA": "C:\\x"}, "win32")] == ["tcp:auto"]
    for platform in ("linux", "darwin"):
        assert all(target.endpoint.is_unix for target in default_targets({}, platform))


def test_a_process_with_the_same_number_is_not_the_broker() -> None:
    stat = Path("/proc/self/stat").read_text()
    start_time = int(stat.rpartition(")")[2].split()[19])
    assert not has_ended(os.getpid(), start_time)
    assert not has_ended(os.getpid(), None)
    assert has_ended(os.getpid(), start_time + 1)
    assert has_ended(ended_process(), None)
    assert has_ended(1 << 80, None)


def ended_process() -> int:
    """The number of a process that has ended just now."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The place of the endpoint file, in a folder of the test."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(f"{folder}/cardbroker/endpoint.json", is_own=True)
        Path(place.folder).mkdir(0o700)
        monkeypatch.setattr("cardbroker._settings.endpoint_file_place", lambda *_: place)
        yield place


def write(place: Place, mode: int = 0o600, **values: object) -> None:
    """Puts an endpoint file in its place, as a broker does it: complete, then renamed."""
    written = {"endpoint": "https://127.0.0.1:9", "token": "t", "certificate": CERTIFICATE, "pid": os.getpid()}
    file = Path(place.path).with_suffix(".new")
    file.touch(mode)
    file.write_text(json.dumps(written | values))
    file.chmod(mode)
    file.rename(place.path)


def problem(place: Place) -> tuple[str, str, bool]:
    found = read_endpoint_file(place, os.geteuid())
    assert isinstance(found, Finding)
    return found.kind, found.text.replace(place.path, "FILE"), found.waiting_helps


def test_a_file_that_another_user_could_have_made_is_not_trusted(place: Place) -> None:
    for mode in (0o640, 0o604, 0o660):
        write(place, mode)
        text = f"not trusted: FILE is open to other users (its mode is {mode:04o})"
        assert problem(place) == ("untrusted", text, False)
    Path(place.path).rename(f"{place.path}.2")
    Path(f"{place.path}.2").chmod(0o600)
    Path(place.path).symlink_to(f"{place.path}.2")
    assert problem(place) == ("untrusted", "not trusted: FILE is a symbolic link", False)
    Path(place.path).unlink()
    os.mkfifo(place.path, 0o600)
    assert problem(place) == ("untrusted", "not trusted: FILE is not a regular file", False)
    Path(place.path).unlink()
    if os.geteuid() == 0:
        write(place)
        os.chown(place.path, 54_321, -1)
        assert problem(place) == ("untrusted", "not trusted: FILE belongs to uid 54321, not to this user", False)
    write(place)
    Path(place.folder).chmod(0o777)
    kind, text, _ = problem(place)
    assert (kind, "other users can write to" in text) == ("untrusted", True)


def test_a_file_that_says_nothing_useful_is_named(place: Place) -> None:
    assert problem(place) == ("missing", "no such file: FILE", True)
    write(place, token="")
    assert problem(place) == ("failed", 'FILE has no valid "token"', False)
    write(place, more="x" * (64 << 10))
    assert problem(place) == ("failed", "FILE is longer than 64 KiB", False)
    Path(place.path).write_bytes(b'{"more": "\xff"}')
    assert problem(place) == ("failed", "FILE is not one JSON object", False)
    ended = ended_process()
    write(place, pid=ended)
    assert problem(place) == ("refused", f"its broker, process {ended}, has ended; see FILE", True)


def test_the_client_waits_for_a_file_but_not_for_a_better_one(place: Place) -> None:
    begun = time.monotonic()
    with pytest.raises(cardbroker.NotRunningError) as missing:
        cardbroker.connect("tcp:auto", connect_timeout=0.3)
    assert time.monotonic() - begun >= 0.3
    assert str(missing.value) == f"no broker at tcp:auto (no such file: {place.path})"
    write(place, token="")
    text = re.escape(f'tcp:auto: {place.path} has no valid "token"')
    with pytest.raises(cardbroker.NotRunningError, match=f"^{text}$") as malformed:
        cardbroker.connect("tcp:auto", connect_timeout=60)
    write(place, 0o644)
    text = r"^tcp:auto is not trusted: .* is open to other users"
    with pytest.raises(cardbroker.NotRunningError, match=text) as open_:
        cardbroker.connect("tcp:auto", connect_timeout=60)
    findings = [caught.value.finding for caught in (missing, malformed, open_)]
    assert findings == ["missing", "failed", "untrusted"]


class Server(service_pb2_grpc.CardBrokerServiceServicer):
    """A broker with TLS on a port that it chooses, which records the tokens of its calls."""

    def __init__(self, key: Path, certificate: Path) -> None:
        self.tokens: list[str] = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        service_pb2_grpc.add_CardBrokerServiceServicer_to_server(self, self._server)
        made = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        self.port = self._server.add_secure_port("127.0.0.1:0", made)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait(20)

    def ListReaders(
        self, request: reader_pb2.ListReadersRequest, context: grpc.ServicerContext
    ) -> reader_pb2.ListReadersResponse:
        self.tokens += [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        return reader_pb2.ListReadersResponse()


@pytest.fixture
def start(place: Place) -> Iterator[Callable[..., Server]]:
    """Starts brokers, with one certificate or with another, and writes their endpoint file."""
    running: list[Server] = []

    def start(token: str, name: str = "broker", *, shows: str = "") -> Server:
        folder = Path(place.folder)
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        if not key.exists():
            asked = ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            asked += ["-addext", "basicConstraints=CA:FALSE", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            command = ["openssl", "req", "-x509", "-nodes", "-keyout", str(key), "-out", str(certificate), *asked]
            subprocess.run(command, check=True, capture_output=True)
        server = Server(key, certificate)  # type: ignore[abstract]
        running.append(server)
        shown = folder / f"{shows or name}.pem"
        write(place, endpoint=f"https://127.0.0.1:{server.port}", token=token, certificate=shown.read_text())
        return server

    yield start
    for server in running:
        server.stop()


def test_a_restarted_broker_is_found_with_its_new_port_and_token(start: Callable[..., Server]) -> None:
    first = start("one")
    with cardbroker.connect("tcp:auto", token_file="/nowhere/token") as client:
        assert str(client.endpoint) == "tcp:auto"
        assert client.readers() == client.readers() == []
        first.stop()
        second = start("two")
        assert client.readers() == []
        assert (first.tokens, second.tokens) == (["Bearer one", "Bearer one"], ["Bearer two"])


def test_asyncio_finds_it_as_well(start: Callable[..., Server]) -> None:
    async def story() -> None:
        first = start("one")
        async with await cardbroker.aio.connect("tcp:auto") as client:
            assert await client.readers() == []
            await asyncio.to_thread(first.stop)
            second = await asyncio.to_thread(start, "two")
            assert await client.readers() == []
            assert (first.tokens, second.tokens) == (["Bearer one"], ["Bearer two"])

    asyncio.run(story())


def test_a_token_goes_only_to_the_connection_of_its_reading(start: Callable[..., Server]) -> None:
    first = start("one")
    with cardbroker.connect("tcp:auto") as client:
        assert client.readers() == []
        # Another file, while the first connection still works.
        other = start("two", "other")
        assert client.readers() == []
        first.stop()
        assert client.readers() == []
        assert (first.tokens, other.tokens) == (["Bearer one"] * 2, ["Bearer two"])


def test_a_program_with_another_certificate_gets_no_token(start: Callable[..., Server]) -> None:
    start("one")
    false = start("one", "other", shows="broker")
    text = "the port of tcp:auto is not that of the broker of the endpoint file: it has another certificate or no TLS; "
    with pytest.raises(cardbroker.NotRunningError, match=f"^{text}"):
        cardbroker.connect("tcp:auto", connect_timeout=20)
    assert false.tokens == []


def test_a_call_waits_for_the_broker_to_write_its_file(place: Place, start: Callable[..., Server]) -> None:
    start("one").stop()
    Path(place.path).unlink()
    starting = threading.Timer(0.5, start, ["two"])
    starting.start()
    with cardbroker.connect("tcp:auto") as client:
        assert client.readers() == []
    starting.join()


def test_each_connection_is_preceded_by_a_walk(start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:  # noqa: ANN401
            steps.append(name)
            return function(*given, **more)

        return call

    monkeypatch.setattr("cardbroker._endpoint_file.walk", noted("walk", read_endpoint_file.__globals__["walk"]))
    monkeypatch.setattr(_channel.Wire, "_open", noted("channel", _channel.Wire._open))
    first = start("one")
    with cardbroker.connect("tcp:auto") as client:
        first.stop()
        start("two")
        assert client.readers() == []
    assert steps == ["walk", "channel", "walk", "channel"]
