"""What a contract test needs of a platform beyond the Protocol: to start it, kill it, and see what leaves it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from eaves.events import Event, decode
from eaves.local.client import LocalPlatform
from eaves.platform import Platform
from tests.waiting import wait_until


class Harness(Protocol):
    """One platform under test."""

    durable: bool
    """Whether accepted events survive the platform's sudden end."""

    @property
    def platform(self) -> Platform: ...

    def kill(self) -> None:
        """End it without warning, as a power cut would."""

    def start(self) -> None:
        """Start it (again)."""


class LocalHarness:
    """A real `eaves up` on a state directory of its own."""

    durable = True

    def __init__(self, state: Path) -> None:
        self.state = state
        self._platform = LocalPlatform(state)
        self._up: subprocess.Popen[bytes] | None = None
        self._log = state.with_suffix(".log")

    @property
    def platform(self) -> LocalPlatform:
        return self._platform

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-P", "-m", "eaves.cli", "up", "--port", str(port), "--state", str(self.state)]
        with self._log.open("ab") as log:
            self._up = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._platform.running, 30, what="eaves up")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def log(self) -> str:
        """What `eaves up` has written, stdout and stderr."""
        return self._log.read_text()

    def _end(self, number: int) -> None:
        if self._up is not None:
            self._up.send_signal(number)
            self._up.wait(60)
            self._up = None


@dataclass
class Sink:
    """An HTTP server that records the events it gets and answers as told."""

    received: list[Event] = field(default_factory=list)
    answer: Callable[[Event], tuple[int, Mapping[str, str], bytes]] = lambda event: (202, {}, b"")
    url: str = ""

    def of(self, subject: str) -> list[Event]:
        return [event for event in self.received if event.subject == subject]


@contextmanager
def open_sink() -> Iterator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            event = decode(dict(self.headers.items()), body)
            sink.received.append(event)
            status, headers, content = sink.answer(event)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        sink.url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


def label_of(event: Event) -> str:
    """The best label of a prediction event."""
    return str(json.loads(event.data)["predictions"][0]["label"])
