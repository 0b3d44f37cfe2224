"""An agent as a real process, and its queue asked as `kubectl exec` asks it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ports import find_port
from tests.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


class AgentProcess:
    """One agent on one folder.

    Args:
        folder: Folder in which the inbox, the spool and the log are made.
        sink: Sink of the events.
        source: More settings of its source.
        environ: More of its settings.
    """

    def __init__(self, folder: Path, sink: str, *, source: Mapping[str, Any] | None = None, **environ: str) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir(parents=True)
        self.spool = folder / "agent.db"
        self.socket = folder / "agent.db.admin" / "socket"
        self.port = find_port()
        self.log = folder / "agent.log"
        self.environ = {
            "PATH": os.environ["PATH"],
            "EAVES_SOURCES": folder_source(self.inbox, settle_s=0.2, **(source or {})),
            "EAVES_SITE": "test",
            "EAVES_SPOOL": str(self.spool),
            "EAVES_PORT": str(self.port),
            "K_SINK": sink,
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Id of the agent's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "eaves.sources"]
            self._process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        wait_until(lambda: self._process is not None and self.is_answering(), 30, what="the agent")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal and wait for the end; return the exit code, None when no agent runs."""
        if self._process is None:
            return None
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def is_answering(self) -> bool:
        try:
            return self.get("/health/liveness")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of its port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def run_queue(self, do: str, **values: Any) -> subprocess.CompletedProcess[str]:
        """Run the module that `eaves queue --on knative` runs in the agent's container."""
        command = [sys.executable, "-P", "-m", "eaves.sources.queue", json.dumps({"do": do, **values})]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)

    def ask_queue(self, do: str, **values: Any) -> Any:
        """What that module prints, read."""
        done = self.run_queue(do, **values)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def lane(self, name: str) -> dict[str, Any]:
        """The report of one lane; empty when it holds nothing."""
        report = json.loads(self.get("/health")[1])["report"]
        found: dict[str, Any] = next((lane for lane in report["lanes"] if lane["lane"] == name), {})
        return found


def folder_source(folder: Path, name: str = "cam", **values: Any) -> str:
    """EAVES_SOURCES for one folder."""
    return json.dumps([{"name": name, "kind": "folder", "path": str(folder), **values}])
