"""Runs a local platform for the benchmarks, with one app whose function does no work, and observes it from outside."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.function.process import ROOT, cpu_ms, environment
from bench.local.sender import get
from bench.measure.process import tree
from eaves.local.client import LocalPlatform
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import ScaleSettings, TriggerSpec, default_trigger
from tests.ports import find_port, find_ports

APP = "bench"
PARALLEL = 8
"""Number of requests that the function's only replica gets at the same time."""
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A local platform that runs in a process of its own.

    Attributes:
        state: State directory of the platform.
        port: Port of the broker.
        pid: Process id of the supervisor (`eaves up`).
        function: Module that serves the function.
        console_port: Port of the console; 0 without one.
    """

    state: StateDirectory
    port: int
    pid: int
    function: str = "bench.local.function"
    console_port: int = 0
    received: dict[str, float] = field(default_factory=dict)

    @property
    def function_pid(self) -> int:
        """Process id of the function's replica; 0 if no replica runs."""
        return self.find(self.function)

    def find(self, module: str) -> int:
        """Return the id of the platform's process that runs a module; 0 if none does."""
        for pid in tree(self.pid):
            if f"\0-m\0{module}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return 0

    @property
    def function_port(self) -> int:
        """Port that the function's replica listens on."""
        entries = Path(f"/proc/{self.function_pid}/environ").read_bytes().split(b"\0")
        return next(int(entry[5:]) for entry in entries if entry.startswith(b"PORT="))

    def collect(self) -> dict[str, float]:
        """Return the time at which each event so far arrived at the function, by the id of the event."""
        self.received.update(json.loads(get(self.function_port, "/received")))
        return self.received

    def depth(self) -> int:
        """Return the number of deliveries that wait in the broker's queue."""
        with closing(sqlite3.connect(f"{self.state.spool.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT total(queued) FROM lanes").fetchone()[0])

    def cpu_ms(self) -> float:
        """Return the CPU time of the supervisor so far, ms."""
        return cpu_ms(self.pid)


def build_app(*more: TriggerSpec) -> LocalApp:
    """Build the benchmark's app: a function that keeps running once it is started, and a trigger for images.

    `more` are additional triggers.
    """
    scale = ScaleSettings(idle_s=3600, max=1)
    function = LocalFunction(name=APP, site=APP, artifact=Path("/"), scale=scale, concurrency=PARALLEL)
    return LocalApp(function=function, triggers=(default_trigger(APP), *more))


@contextmanager
def run_platform(
    app: LocalApp,
    fill: Callable[[StateDirectory], None] = lambda state: None,
    *,
    function: str = "bench.local.function",
    has_console: bool = False,
) -> Iterator[Running]:
    """Start a platform with an app, and stop it after the `with` block.

    Its state directory is below `build` in the working directory, so that the benchmark measures the disk of that
    directory.

    Args:
        app: App that is deployed when the platform starts.
        fill: Function that can add data to the state directory before the platform starts.
        function: Module that serves the function.
        has_console: Whether the platform has a console.
    """
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="local-", dir="build") as folder:
        state = StateDirectory(root=Path(folder))
        state.write_spec(app)
        fill(state)
        port, *console = find_ports(2) if has_console else [find_port()]
        log = (state.root / "up.log").open("wb")
        command = [sys.executable, "-m", "bench.local.up", str(port), str(state.root.absolute())]
        command += ["--function", function]
        command += [f"--console={one}" for one in console]
        process = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=log, stderr=log)
        try:
            client = LocalPlatform(state.root)
            wait_until(lambda: client.running() or process.poll() is not None)
            if process.poll() is not None:
                sys.exit(f"error: the platform ended:\n{(state.root / 'up.log').read_text()[-2000:]}")
            yield Running(state=state, port=port, pid=process.pid, function=function, console_port=sum(console))
        finally:
            log.close()
            process.terminate()
            process.wait(60)


def wait_until(condition: Callable[[], object], *, pause_s: float = 0.02, timeout_s: float = DEADLINE_S) -> None:
    """Wait until `condition` returns a true value; exit with an error after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"error: no result within {timeout_s:g} s")
        time.sleep(pause_s)
