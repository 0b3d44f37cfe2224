"""A real broker, mosquitto, on loopback: killed, started again, with users, TLS and limits as a test wants them."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes.server import ServerProcess
from tests.waiting import wait_until

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian puts mosquitto where only root looks."""
KEEPING_ALL = ("persistence true", "autosave_on_changes true", "autosave_interval 1")
"""Each change is saved at once, so that a broker that is killed has all that it acknowledged."""

QUIET_S = 0.3


class Mosquitto(ServerProcess):
    """One broker. It is the caller's to start and to end.

    Args:
        folder: For its configuration, log and database.
        lines: Further lines of mosquitto.conf.
        users: Password by user; with any, nobody else is let in.

    Attributes:
        database: What it saves, with persistence.
    """

    def __init__(self, folder: Path, lines: Sequence[str] = (), *, users: Mapping[str, str] | None = None) -> None:
        super().__init__(folder / "mosquitto.log")
        self.database = folder / "mosquitto.db"
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

    def start(self) -> None:
        self.launch([_find("mosquitto"), "-c", str(self._config)])

    def wait_for_save(self) -> None:
        """Wait until the broker has saved all earlier messages, which means until it has not saved for a while."""
        wait_until(lambda: time.time() - self.database.stat().st_mtime > QUIET_S, what="a save")


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
        broker.stop()


def need_mosquitto() -> None:
    """Skip a test where mosquitto isn't installed; in CI it must be."""
    if shutil.which("mosquitto", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("mosquitto is not installed (Debian: apt install mosquitto)")


def _find(command: str) -> str:
    found = shutil.which(command, path=PATH)
    assert found is not None, f"{command} is not installed (Debian: apt install mosquitto)"
    return found
