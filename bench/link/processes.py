"""Kills processes with SIGKILL at planned times and restarts them, as on a node that fails."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

RESTART_S = 1.0
"""Seconds from a kill to the restart: about the time that a supervisor needs to notice that a process has ended."""


@dataclass(slots=True)
class Part:
    """One process of a setup, such as its agent, which can be killed and restarted.

    Attributes:
        name: Name of the process in the results; its log file has the same name.
        command: Command line that starts the process.
        environ: Complete environment of the process.
        log: File to which the output of the process is appended.
        port: TCP port that the process listens on when it is ready.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: int = 0
    """Number of times that the process was found to have ended by itself."""

    def start(self) -> None:
        """Start the process; its output is appended to its log file."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environ),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.log.parent,
            )

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until the process listens on its port.

        Raises:
            TimeoutError: When the process ends, or doesn't listen in time; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.listens():
            if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                raise TimeoutError(f"{self.name} didn't become ready:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def has_ended(self) -> bool:
        """Return whether the process has ended by itself, without being stopped or killed."""
        return self.process is not None and self.process.poll() is not None

    def listens(self) -> bool:
        """Return whether a process listens on `port` in the network namespace of this process.

        Source: proc_pid_net(5), state 0A.
        """
        if self.process is None:
            return False
        lines: list[str] = []
        for table in ("tcp", "tcp6"):
            with suppress(OSError):
                lines += Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()
        found = (line.split() for line in lines)
        return any(words[1].endswith(f":{self.port:04X}") and words[3] == "0A" for words in found if len(words) > 3)

    def kill(self) -> None:
        """Kill the process with SIGKILL, and start it again after `RESTART_S` seconds."""
        with self.lock:
            self.end(signal.SIGKILL)
            time.sleep(RESTART_S)
            self.start()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process with the given signal, or with SIGKILL after 20 seconds; it is not restarted."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            self.ended += 1
        else:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def look(self) -> None:
        """Count and restart the process if it has ended by itself."""
        with self.lock:
            if self.process is not None and self.process.poll() is not None:
                self.ended += 1
                self.start()


def plan_kills(roles: Sequence[str], *, seconds: float, mean_s: float, seed: int) -> list[tuple[float, str]]:
    """Plan when processes are killed: seconds from the start and the role, sorted by time.

    The measurement is divided into equal spans of about `mean_s` seconds, each with one kill at a random moment. The
    roles are killed in random order, and each role once before any role is killed again.
    """
    draw = random.Random(seed)
    rounds = max(1, round(seconds / mean_s / len(roles)))
    turns = [role for _ in range(rounds) for role in draw.sample(sorted(roles), len(roles))]
    span_s = seconds / len(turns)
    # The last tenth of a span has no kill, so that a restart completes before the run ends or the next span begins.
    return [(span_s * (number + draw.uniform(0, 0.9)), role) for number, role in enumerate(turns)]


class Killer:
    """Thread that kills processes at planned times and restarts them; those of one role are killed together."""

    def __init__(self, parts: Mapping[str, Sequence[Part]], plan: Sequence[tuple[float, str]]) -> None:
        self.kills: list[tuple[float, str]] = []
        self._parts = parts
        self._plan = plan
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread that kills processes; the planned times are relative to this moment."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, so that no further process is killed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        for at, role in self._plan:
            if self._stop.wait(max(0.0, start + at - time.monotonic())):
                return
            self.kills.append((time.time(), role))
            killing = [threading.Thread(target=part.kill) for part in self._parts[role]]
            for thread in killing:
                thread.start()
            for thread in killing:
                thread.join()
            for part in (one for parts in self._parts.values() for one in parts):
                part.look()
