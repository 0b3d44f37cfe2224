"""A real broker, mosquitto, on loopback: killed, started again, with users, TLS and limits as a test wants them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import pytest

from tests.ports import find_port
from tests.waiting import wait_until

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian puts mosquitto where only root looks."""
KEEPING_ALL = ("persistence true", "autosave_on_changes true", "autosave_interval 1")
"""Each change is saved at once, so that a broker that is killed has all that it acknowledged."""

QUIET_S = 0.3


class Mosquitto:
    """One broker. It is the caller's to start and to end.

    Args:
        folder: For its configuration, log and database.
        lines: Further lines of mosquitto.conf.
        users: Password by user; with any, nobody else is let in.

    Attributes:
        port: Its TCP port on loopback, the same after each start.
        log: Its log file.
        database: What it saves, with persistence.
    """

    def __init__(self, folder: Path, lines: Sequence[str] = (), *, users: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = find_port()
        self.log = folder / "mosquitto.log"
        self.database = folder / "mosquitto.db"
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        own = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if users else 'true'}",
            f"persistence_location {folder}/",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        if users:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for user, password in users.items():
                command = [_find("mosquitto_passwd"), "-b", str(passwords), user, password]
                subprocess.run(command, check=True, capture_output=True)
            own.append(f"password_file {passwords}")
        self._config.write_text("\n".join([*own, *lines, ""]))

    @property
    def url(self) -> str:
        """Its address, mqtt://127.0.0.1:PORT."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Id of the broker's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            command = [_find("mosquitto"), "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._listens, what="mosquitto")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM; it saves its database."""
        self._end(SIGTERM)

    def wait_for_save(self) -> None:
        """Wait until the broker has saved all earlier messages, which means until it has not saved for a while."""
        wait_until(lambda: time.time() - self.database.stat().st_mtime > QUIET_S, what="a save")

    def signal(self, number: Signals) -> None:
        """Send it a signal: SIGSTOP makes it deaf while its port still answers."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextmanager
def run_mosquitto(
    folder: Path, lines: Sequence[str] = (), *, users: Mapping[str, str] | None = None
) -> Iterator[Mosquitto]:
    """A broker that runs in the block; the test is skipped where mosquitto isn't installed, except in CI."""
    need_mosquitto()
    broker = Mosquitto(folder, lines, users=users)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def need_mosquitto() -> None:
    """Skip a test where mosquitto isn't installed; in CI it must be."""
    if shutil.which("mosquitto", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("mosquitto is not installed (Debian: apt install mosquitto)")


def _find(command: str) -> str:
    found = shutil.which(command, path=PATH)
    assert found is not None, f"{command} is not installed (Debian: apt install mosquitto)"
    return found
