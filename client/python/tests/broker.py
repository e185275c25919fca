"""A private broker for tests: the real `cardbrokerd` with simulated readers, in a temporary folder."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import cardbroker

READER = "readers/simulated-reader-00"
"""The first simulated reader; its card speaks T=1."""

START_TIME = 20.0
STOP_TIME = 30.0

SELECT = bytes.fromhex("00A4040006F0434152440100")
GET_RESPONSE = bytes.fromhex("00C0000013")
READ_RECORD = bytes.fromhex("00B2010410")
COUNT = bytes.fromhex("8010000004")
VERIFY = bytes.fromhex("00200080083132333435363738")
PROTECTED = bytes.fromhex("00B0810020")
PIN = b"12345678"


def raw(apdu: bytes) -> cardbroker.Command:
    """A command that is sent exactly as given."""
    return cardbroker.Command(apdu, raw=True)


def slow(milliseconds: int) -> bytes:
    """A command that the card answers after this time."""
    return bytes.fromhex(f"8016000002{milliseconds:04X}")


def fault(kind: int, a: int = 0, b: int = 0) -> bytes:
    """A command that triggers a fault of the simulated card."""
    return bytes.fromhex(f"80F0{kind:02X}0004{a:04X}{b:04X}")


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


class Broker:
    """A running broker; the end of its `with` block kills it."""

    def __init__(self, *flags: str, readers: int = 2) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="broker-")
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "cardbroker.sock"
        self._readers = readers
        self._flags = flags
        self._start()

    @property
    def endpoint(self) -> str:
        """The value of `CARDBROKER_ENDPOINT` for its clients."""
        return f"unix:{self.socket}"

    def log(self) -> str:
        """The log of the broker so far."""
        return (self.folder / "log").read_text()

    def restart(self) -> None:
        """Kills the broker without a drain and starts it again."""
        self.kill()
        self._start()

    def kill(self) -> None:
        """Kills the broker without a drain."""
        self._process.kill()
        self._process.wait(STOP_TIME)

    def stop(self) -> int:
        """Terminates the broker with a drain; returns its exit code."""
        self._process.terminate()
        return self._process.wait(STOP_TIME)

    def _start(self) -> None:
        # Ignores the configuration and the folder of the user.
        config = [] if "--config" in self._flags else ["--config", "/dev/null"]
        own = ["--simulate", str(self._readers), "--socket", str(self.socket), "--log", "debug"]
        arguments = [*config, *own, *self._flags]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [os.environ["CARDBROKERD"], *arguments],
                env={**os.environ, "XDG_CONFIG_HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIME
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"cardbrokerd did not start: {self.log()}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()
