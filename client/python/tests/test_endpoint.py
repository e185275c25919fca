"""The endpoint, the group and the token of a client."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

import cardbroker
from cardbroker._places import Part, Place, judge, places, walk
from cardbroker._secret_mount import is_secret_mount
from cardbroker._settings import Route, Settings
from cardbroker._token_file import TokenFile, der_of


def vectors(name: str) -> list[dict[str, Any]]:
    """A table of the conformance kit."""
    text = (Path(__file__).parents[3] / "proto/conformance" / name).read_text()
    table: list[dict[str, Any]] = json.loads(text)
    return table


def test_the_argument_wins_then_the_variable_then_the_default_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    environment = {"CARDBROKER_ENDPOINT": "unix:/from/variable", "XDG_RUNTIME_DIR": "/run/user/7"}
    settings = [
        Settings.of("unix:/from/argument", None, None, 5, environment),
        Settings.of(None, None, None, 5, environment),
        Settings.of(None, None, None, 5, {**environment, "CARDBROKER_ENDPOINT": ""}),
    ]
    found = [[target.endpoint.path for target in setting.targets] for setting in settings]
    assert found == [["/from/argument"], ["/from/variable"], [OWN, SYSTEM]]


OWN, SYSTEM = "/run/user/7/cardbroker/cardbroker.sock", "/run/cardbroker/cardbroker.sock"


def test_the_default_places_depend_on_runtime_folder_and_user() -> None:
    for uid, environment, expected in (
        (7, {}, [OWN, SYSTEM]),
        (7, {"XDG_RUNTIME_DIR": "relative"}, [OWN, SYSTEM]),
        (7, {"XDG_RUNTIME_DIR": "/a/"}, ["/a/cardbroker/cardbroker.sock", SYSTEM]),
        (0, {"XDG_RUNTIME_DIR": "/run/user/7"}, [SYSTEM]),
    ):
        assert [place.path for place in places(environment, uid)] == expected


def test_a_way_is_trusted_only_if_no_other_user_decides_about_it() -> None:
    def verdict(place: Place, *parts: tuple[Any, int, int]) -> bool:
        way = [Part(path, kind, *rest) for path, (kind, *rest) in zip(place.way, parts)]
        return judge(place, 7, way) is None

    own, system = places({}, 7)
    root, mine, socket = ("folder", 0, 0o755), ("folder", 7, 0o700), ("other", 7, 0o600)
    assert verdict(own, root, root, root, mine, mine, socket)
    assert not verdict(own, root, root, root, ("folder", 8, 0o700))
    assert not verdict(own, root, root, ("folder", 0, 0o777), mine, mine, socket)
    assert verdict(own, root, root, ("folder", 0, 0o1777), mine, mine, socket)
    assert not verdict(own, root, root, root, mine, ("link", 7, 0o777))
    assert verdict(system, root, root, ("folder", 8, 0o755), ("other", 8, 0o666))
    assert not verdict(system, root, ("folder", 0, 0o1777), ("folder", 8, 0o755), ("other", 8, 0o666))


def test_distrust_counts_before_a_missing_part(tmp_path: Path) -> None:
    place = Place(f"{tmp_path}/cardbroker/cardbroker.sock", is_own=False)
    missing = walk(place, os.geteuid())
    tmp_path.chmod(0o777)
    untrusted = walk(place, os.geteuid())
    assert [finding and finding.kind for finding in (missing, untrusted)] == ["missing", "untrusted"]


def test_a_path_too_long_for_a_socket_is_reported_at_once() -> None:
    with pytest.raises(cardbroker.NotRunningError, match="the path is longer than a socket's 107 bytes") as caught:
        cardbroker.connect(f"unix:/{'x' * 107}", connect_timeout=60)
    assert caught.value.finding == "too_long"


def route(settings: Settings) -> Route:
    """The route to the only target."""
    found = settings.route(settings.targets[0])
    assert isinstance(found, Route)
    return found


def test_the_token_is_for_tcp_only_and_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  first\n")
    file.chmod(0o600)
    environment = {"CARDBROKER_TOKEN_FILE": str(file)}
    with pytest.warns(UserWarning, match="http://127.0.0.1:1 is plain TCP"):
        settings = Settings.of("http://127.0.0.1:1", None, None, 5, environment)
    assert settings.metadata(route(settings)) == (("authorization", "Bearer first"),)
    file.write_text("second")
    assert settings.metadata(route(settings)) == (("authorization", "Bearer second"),)
    for endpoint in ("unix:/a", "tcp:auto"):
        assert Settings.of(endpoint, None, str(file), 5, environment).token_file is None


@pytest.mark.parametrize("content", [None, b"", b"token\nb", b"\xff", b"token\n"])
def test_an_unusable_token_file_is_named_in_the_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(cardbroker.InvalidError, match=str(file)) as caught:
        cardbroker.connect("https://127.0.0.1:1", token_file=file)
    assert caught.value.delivery == "NOT_SENT"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_token_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    file.chmod(mode)
    with pytest.raises(cardbroker.InvalidError, match=f"its mode is {mode:04o}") as caught:
        cardbroker.connect("https://127.0.0.1:1", token_file=file)
    assert caught.value.field_violations[0].field == "token_file"
    assert "secret" not in str(caught.value)


def test_only_mounts_for_secrets_are_taken_for_them() -> None:
    table = json.loads((Path(__file__).parents[3] / "proto/conformance/secret_mounts.json").read_text())
    for case in table["cases"]:
        mounts, folder, file = "\n".join(table["mounts"]), Path(case["folder"]), Path(case["file"])
        assert is_secret_mount(mounts, folder, file) == case["accepted"], case


def test_a_token_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    if os.geteuid() == 0:
        os.chown(file, 54_321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    with pytest.raises(cardbroker.InvalidError, match="belongs to another user: change its owner with chown"):
        cardbroker.connect("https://127.0.0.1:1", token_file=file)


def test_a_token_file_must_be_a_regular_small_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    long = tmp_path / "long"
    long.touch(0o600)
    os.truncate(long, (1 << 20) + 1)
    for file, why in ((tmp_path, "not a regular file"), (pipe, "not a regular file"), (long, "longer than 1 MiB")):
        with pytest.raises(cardbroker.InvalidError, match=why):
            cardbroker.connect("https://127.0.0.1:1", token_file=file)


def test_a_bad_group_is_refused_and_no_group_is_printed() -> None:
    for group in ("gr\u00fc\u00df", "two words", "x" * 129):
        with pytest.raises(cardbroker.InvalidError, match="visible ASCII"):
            cardbroker.connect("unix:/a", group=group)
    assert "secret" not in repr(Settings.of("unix:/a", "secret", None, 5, {}))


@pytest.mark.filterwarnings("ignore:.*is plain TCP")
@pytest.mark.parametrize(
    ("endpoint", "found"),
    [("unix:/nowhere/a.sock", "no such file"), ("http://127.0.0.1:1", "connection refused")],
)
def test_a_missing_broker_is_reported_after_the_timeout(endpoint: str, found: str) -> None:
    start = time.monotonic()
    with pytest.raises(cardbroker.NotRunningError, match=rf"^no broker at {endpoint} \({found}\)$") as caught:
        cardbroker.connect(endpoint, connect_timeout=0.3)
    assert caught.value.delivery == "NOT_SENT"
    assert time.monotonic() - start >= 0.3


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


def test_a_token_file_has_token_and_certificate(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    settings = Settings.of("https://127.0.0.1:1", None, file, 5, {})
    file.write_text(f"token\r\n{CERTIFICATE}")
    made = route(settings)
    assert settings.metadata(made) == (("authorization", "Bearer token"),)
    assert made.certificate == CERTIFICATE.strip()
    file.write_text(f"token\n{CERTIFICATE}more\n")
    for read in (lambda: route(settings), lambda: settings.metadata(made)):
        with pytest.raises(cardbroker.InvalidError, match="has more than a token and a certificate in PEM"):
            read()


@pytest.mark.parametrize("case", vectors("token_files.json"), ids=lambda case: case["name"])
def test_token_files_are_read_as_in_the_other_clients(case: dict[str, str]) -> None:
    if "token" not in case:
        with pytest.raises(ValueError, match=r"^(has|holds) "):
            TokenFile.parse(case["text"])
        return
    found = TokenFile.parse(case["text"])
    certificate = base64.b64encode(der_of(found.certificate) or b"").decode()
    assert (found.token, certificate) == (case["token"], case.get("certificate", ""))


@pytest.mark.filterwarnings("ignore:.*is plain TCP")
def test_a_token_with_a_certificate_is_for_tls_only(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(f"token\n{CERTIFICATE}")
    with pytest.raises(cardbroker.InvalidError, match="has a certificate, and http:// is plain TCP: use https://"):
        cardbroker.connect("http://127.0.0.1:1", token_file=file)
    with pytest.raises(cardbroker.InvalidError, match=r"^https://127\.0\.0\.1:1 needs a token file"):
        cardbroker.connect("https://127.0.0.1:1")
    assert Settings.of("https://localhost:7", None, file, 5, {}).targets[0].endpoint.target == "dns:///127.0.0.1:7"
    assert Settings.of("https://[::1]:7", None, file, 5, {}).targets[0].endpoint.target == "dns:///[::1]:7"
