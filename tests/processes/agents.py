"""An agent as a real process, and its queue asked as `kubectl exec` asks it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ports import find_port
from tests.processes.commands import run_command
from tests.processes.service import ServiceProcess

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


class AgentProcess(ServiceProcess):
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
        port = find_port()
        settings = {
            "EAVES_SOURCES": folder_source(self.inbox, settle_s=0.2, **(source or {})),
            "EAVES_SITE": "test",
            "EAVES_SPOOL": str(self.spool),
            "EAVES_PORT": str(port),
            "K_SINK": sink,
            **environ,
        }
        super().__init__("eaves.sources", folder / "agent.log", settings, port=port, health_port=port)

    def run_queue(self, do: str, **values: Any) -> subprocess.CompletedProcess[str]:
        """Run the module that `eaves queue --on knative` runs in the agent's container."""
        command = [sys.executable, "-P", "-m", "eaves.sources.queue", json.dumps({"do": do, **values})]
        return run_command(command, env=self.environ, timeout=60)

    def ask_queue(self, do: str, **values: Any) -> Any:
        """What that module prints, read."""
        done = self.run_queue(do, **values)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def folder_source(folder: Path, name: str = "cam", **values: Any) -> str:
    """EAVES_SOURCES for one folder."""
    return json.dumps([{"name": name, "kind": "folder", "path": str(folder), **values}])
