"""A part of Eaves as a process of its own: started, asked over HTTP, and ended by a signal."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from eaves.events import Event, encode_binary
from tests.waiting import wait_until

START_S = 60.0
"""Longest wait for a process to start or to end, seconds; a busy machine takes its time."""


class ServiceProcess:
    """A process that runs a module; as a context manager it runs while the block does.

    Args:
        module: Python module.
        log: File that its output is appended to.
        environ: Its settings.
        port: Port that takes events.
        health_port: Port that answers probes.
    """

    def __init__(self, module: str, log: Path, environ: Mapping[str, str], *, port: int, health_port: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.module, self.log, self.port, self.health_port = module, log, port, health_port
        self.environ, self.arguments = {"PATH": os.environ["PATH"], **environ}, list[str]()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self, *before: str) -> None:
        """Start it, by way of a command such as strace, and wait for nothing."""
        command = [*before, sys.executable, "-P", "-m", self.module, *self.arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log, process_group=0)

    def start(self) -> None:
        self.launch()
        wait_until(self.is_answering, START_S, what=self.module)

    def is_answering(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.get("/health/liveness")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal to it and to what traces it, and wait for its end; the exit code, None when it didn't run."""
        if self._process is None:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Until it has ended; the exit code."""
        assert self._process is not None
        code = self._process.wait(START_S)
        self._process = None
        return code

    def post(self, event: Event, path: str = "/") -> tuple[int, bytes]:
        """Hand over one event; status and body of the answer."""
        headers, body = encode_binary(event)
        return ask(self.port, "POST", path, body, headers)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of its health port."""
        status, body = ask(self.health_port, "GET", path)
        return status, body.decode()

    def report(self) -> dict[str, Any]:
        """The queue's report."""
        found: dict[str, Any] = json.loads(self.get("/health")[1])["report"]
        return found

    def lane(self, name: str) -> dict[str, Any]:
        """The report of one lane; empty when it holds nothing."""
        return next((lane for lane in self.report()["lanes"] if lane["lane"] == name), {})


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer of a server on loopback, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
