"""The real agent with camera sources, and what its log says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.function.process import ROOT, environment
from bench.local.platform import wait_until
from bench.material import FOLDER
from bench.measure.process import tree
from tests.ports import find_port

MODULE = b"eaves.sources.camera.decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the agent's log.

    Attributes:
        at: Unix time, seconds.
        source: Name of the source; empty when the line names none.
        message: Text of the line.
    """

    at: float
    source: str
    message: str

    @property
    def is_capture(self) -> bool:
        """Whether the line says that a frame was stored."""
        return self.message.startswith("captured ")


class Agent:
    """An agent in a process of its own.

    Args:
        folder: Folder of its spool and its log.
        pid: Id of its process.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder, self.pid = folder, pid

    @property
    def children(self) -> list[int]:
        """Ids of the decoders' processes."""
        return [pid for pid in list(tree(self.pid))[1:] if _is_decoder(pid)]

    def read_log(self) -> list[LogLine]:
        """Return the lines of the log so far that are JSON."""
        return [_parse(line) for line in _lines(self.folder) if line.startswith("{")]

    def keep_log(self, name: str) -> None:
        """Copy the log so far to a file among the stored results.

        Args:
            name: Name of the file without its suffix.
        """
        target = FOLDER / f"camera/{name}.log"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / "log", target)

    def count_captures(self) -> int:
        """Return the number of frames that were stored so far."""
        return sum(line.is_capture for line in self.read_log())


@contextmanager
def running(sources: Sequence[Mapping[str, Any]], *, sink: str = "", **more: str) -> Iterator[Agent]:
    """Run an agent until the block ends; its state is below `build`, so that the disk is that of the project.

    Args:
        sources: Settings of its sources.
        sink: Address that the events are sent to; they wait in the spool without one.
        more: More environment variables.
    """
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agent-", dir="build") as name:
        folder = Path(name).absolute()
        environ = environment(
            EAVES_SOURCES=json.dumps(list(sources)),
            EAVES_SPOOL=str(folder / "agent.db"),
            EAVES_SITE="bench",
            EAVES_LOG_JSON="true",
            EAVES_PORT=str(find_port()),
            K_SINK=sink,
            **more,
        )
        with (folder / "log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "eaves.sources"]
            process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_until(lambda: (folder / "agent.db").exists() or process.poll() is not None)
            if process.poll() is not None:
                sys.exit(f"error: the agent ended:\n{(folder / 'log').read_text()[-2000:]}")
            yield Agent(folder, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def build_source(name: str, url: str, **more: object) -> dict[str, object]:
    """Return the settings of a camera source."""
    return {"name": name, "kind": "camera", "url": url, **more}


def _is_decoder(pid: int) -> bool:
    try:
        return MODULE in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _lines(folder: Path) -> list[str]:
    text = (folder / "log").read_text(errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


def _parse(line: str) -> LogLine:
    values = json.loads(line)
    message = values["message"]
    words = message.split()
    named = words[1] if words[:1] == ["source"] else values.get("source", "").rpartition("/")[2]
    at = datetime.fromisoformat(values["time"]).timestamp()
    return LogLine(at=at, source=named.rstrip(":"), message=message)
