"""Processes of a soak test: HTTP peers and `eaves up` with its children, killed and measured by pid."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.contract.harness import LocalHarness
from tests.ports import find_port, is_listening
from tests.proc import child_pids
from tests.soak import peer
from tests.waiting import wait_until

START_S = 60.0
"""Longest wait for a process to start or to end, seconds; a busy machine takes its time."""
FUNCTION, SOURCE = "functions", "eaves.sources"
"""Modules of the platform's children."""


class Peer:
    """A process that runs `tests.soak.peer` and is started again on the same port.

    Args:
        arguments: The role, as the command line of `tests.soak.peer` takes it.
    """

    def __init__(self, *arguments: str) -> None:
        self._port = find_port()
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def running(self) -> bool:
        """Whether the process was started and not killed since."""
        return self._process is not None

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        command = [sys.executable, "-P", str(Path(peer.__file__)), str(self._port), *self._arguments]
        self._process = subprocess.Popen(command)
        wait_until(lambda: is_listening(self._port), START_S, what="an HTTP peer")

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None


class Record:
    """What a recording peer has written, read as it grows. It keeps nothing: tests measure their own memory.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[tuple[str, str]]:
        """Return the events recorded since the last call, repeats included: subject and id of each."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        found = (line.split("\t") for line in whole.decode().splitlines())
        return [(fields[1], fields[0]) for fields in found if len(fields) == 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of the platform.

    Attributes:
        pid: Process id.
        module: Python module that it runs.
    """

    pid: int
    module: str


class Platform:
    """A real `eaves up` on a port of its own, with its children.

    Args:
        state: State directory; a short path, as it holds a Unix socket.
    """

    def __init__(self, state: Path) -> None:
        self.harness = LocalHarness(state)
        self._port = find_port()
        self._known: set[Child] = set()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.harness.start(port=self._port)

    def kill(self) -> None:
        """End it with SIGKILL; the kernel ends its children with SIGTERM."""
        self.children()
        self.harness.kill()

    def children(self) -> list[Child]:
        """The functions and sources that run now."""
        found = [Child(pid=pid, module=module) for pid in child_pids(self.harness.pid) if (module := module_of(pid))]
        self._known.update(found)
        return found

    def kill_child(self, module: str) -> bool:
        """Kill one child that runs a module; False when there is none now."""
        for child in self.children():
            if child.module == module:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                    return True
        return False

    def close(self) -> None:
        """End it and every child that was ever seen."""
        if self.harness.running:
            self.children()
            self.harness.kill()
        for child in self._known:
            if module_of(child.pid) == child.module:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)


def module_of(pid: int) -> str:
    """The Python module that a process runs with `-m`; empty when it runs none, or is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return words[words.index("-m") + 1] if "-m" in words[:-1] and "setpriv" not in words[0] else ""
