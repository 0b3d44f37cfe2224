"""A relay as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import Event, encode_binary
from tests.ports import find_ports
from tests.waiting import wait_until


class RelayProcess:
    """One relay.

    Args:
        folder: Folder in which its spool and log are made.
        to: The receiver's address.
        environ: More of its settings.
    """

    def __init__(self, folder: Path, to: str, **environ: str) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "relay.log"
        self.spool = folder / "relay.db"
        self.port, self.health_port = find_ports(2)
        self.environ = {
            "PATH": os.environ["PATH"],
            "EAVES_TO": to,
            "EAVES_SITE": "north",
            "EAVES_SPOOL": str(self.spool),
            "EAVES_HEALTH_PORT": str(self.health_port),
            "PORT": str(self.port),
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "eaves.link.relay"]
            self._process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        wait_until(self._is_live, 30, what="the relay")

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; seconds until it has ended."""
        began = time.monotonic()
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None
        return time.monotonic() - began

    def post(self, event: Event, path: str = "/") -> tuple[int, bytes]:
        """Hand over one event as an agent does."""
        headers, body = encode_binary(event)
        return _ask(self.port, "POST", path, body, headers)

    def post_batch(self, events: Sequence[Event]) -> int:
        """Hand over many events at once."""
        return _ask(self.port, "POST", "/", b"".join(encode_batch(events)), {"Content-Type": MEDIA_TYPE})[0]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of its health port."""
        status, body = _ask(self.health_port, "GET", path, None, {})
        return status, body.decode()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/health")[1])["report"]
        return found

    def link(self) -> dict[str, Any]:
        found: dict[str, Any] = self.report()["link"]
        return found

    def lane(self, name: str) -> dict[str, Any]:
        return next((lane for lane in self.report()["lanes"] if lane["lane"] == name), {})

    def resident_kb(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def _is_live(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.get("/health/liveness")[0] == 200
        except OSError:
            return False


def _ask(port: int, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def relaying(folder: Path, to: str, **environ: str) -> Iterator[RelayProcess]:
    """A relay that runs while the block does."""
    made = RelayProcess(folder, to, **environ)
    made.start()
    try:
        yield made
    finally:
        made.end()
