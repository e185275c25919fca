"""Where the broker is sought, and who the client is there."""

from __future__ import annotations

from pathlib import Path

import pytest

import cardbroker
from cardbroker._endpoint import Settings, default_socket


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:/run/a b.sock", "unix:/run/a b.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("http://127.0.0.1:7000", "http://127.0.0.1:7000"),
        ("http://127.0.0.1:7000/", "http://127.0.0.1:7000"),
        ("http://[::1]:7000", "http://[::1]:7000"),
        ("http://localhost:7000", "http://localhost:7000"),
    ],
)
def test_every_way_to_write_an_endpoint_is_read(text: str, shown: str) -> None:
    assert str(cardbroker.Endpoint.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "unix:",
        "unix:relative.sock",
        "unix://host/a.sock",
        "unix:/run/",
        "/run/a.sock",
        "http://127.0.0.1",
        "https://127.0.0.1:7000",
        "http://192.168.0.1:7000",
        "http://999.0.0.1:7000",
        "http://example.org:7000",
        "http://user@127.0.0.1:7000",
        "http://127.0.0.1:7000/path",
        "http://127.0.0.1:70000",
        "127.0.0.1:7000",
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(cardbroker.EndpointError, match="use unix:/path or http://127") as caught:
        cardbroker.connect(text)
    assert caught.value.is_permanent


def test_the_argument_wins_then_the_variable_then_the_default_socket() -> None:
    environment = {"CARDBROKER_ENDPOINT": "unix:/from/variable", "XDG_RUNTIME_DIR": "/run/user/7"}
    settings = [
        Settings.of("unix:/from/argument", None, None, 5, environment),
        Settings.of(None, None, None, 5, environment),
        Settings.of(None, None, None, 5, {**environment, "CARDBROKER_ENDPOINT": ""}),
    ]
    found = [str(setting.endpoint) for setting in settings]
    assert found == ["unix:/from/argument", "unix:/from/variable", "unix:/run/user/7/cardbroker/cardbroker.sock"]


def test_the_runtime_folder_wins_then_root_then_a_folder_of_ones_own() -> None:
    assert default_socket({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == "/run/user/7/cardbroker/cardbroker.sock"
    assert default_socket({"XDG_RUNTIME_DIR": "relative"}, 0) == "/run/cardbroker/cardbroker.sock"
    assert default_socket({}, 7) == "/tmp/cardbroker-7/cardbroker.sock"


def test_the_token_goes_to_tcp_endpoints_only_and_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  first\n")
    environment = {"CARDBROKER_TOKEN_FILE": str(file)}
    settings = Settings.of("http://127.0.0.1:1", None, None, 5, environment)
    assert settings.metadata() == (("authorization", "Bearer first"),)
    file.write_text("second")
    assert settings.metadata() == (("authorization", "Bearer second"),)
    assert Settings.of("unix:/a", None, str(file), 5, environment).metadata() == ()


@pytest.mark.parametrize("content", [None, b"", b"a\nb", b"\xff"])
def test_a_token_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(cardbroker.FailedError, match=str(file)) as caught:
        cardbroker.connect("http://127.0.0.1:1", token_file=file)
    assert caught.value.delivery == "not_sent"


def test_a_group_that_cannot_be_sent_is_refused_and_none_is_ever_printed() -> None:
    with pytest.raises(cardbroker.FailedError, match="printable ASCII"):
        cardbroker.connect("unix:/a", group="gr\u00fc\u00df")
    assert "secret" not in repr(Settings.of("unix:/a", "secret", None, 5, {}))


@pytest.mark.parametrize("endpoint", ["unix:/nowhere/a.sock", "http://127.0.0.1:1"])
def test_nobody_there_is_told_at_once(endpoint: str) -> None:
    with pytest.raises(cardbroker.NotRunningError, match=f"^no broker at {endpoint}$") as caught:
        cardbroker.connect(endpoint)
    assert caught.value.delivery == "not_sent"
