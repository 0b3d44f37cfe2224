"""Benchmark of a replica's start on the local platform: by its command, and by a fork of the zygote."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.function.process import Message, cpu_ms, environment, wait_for_answer
from bench.measure.process import memory_bytes
from eaves.local.processes.process import Child, Launch, Process
from eaves.local.processes.zygote.launcher import Launcher
from tests.ports import find_port

COUNTS = (1, 2, 4)
"""Numbers of replicas whose memory is measured."""
SETTLE_S = 2.0
"""Time that a new zygote gets before it is measured, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Measurements of starts of one kind.

    Attributes:
        wall_ms: Times from the request for a replica until its first prediction, ms.
        cpu_ms: CPU times of the replica and of the zygote's fork until then, ms.
        together_mb: Memory of the replicas and of the zygote together (PSS), MB, by number of replicas.
    """

    wall_ms: Sequence[float]
    cpu_ms: Sequence[float]
    together_mb: Sequence[float]


def measure(artifact: Path, rounds: int) -> tuple[Started, Started]:
    """Measure starts by the command and by a fork, alternately; the first round isn't counted."""
    image = min(artifact.glob("golden/*.jpg"), key=lambda path: path.stat().st_size)
    message = Message(body=image.read_bytes())
    with tempfile.TemporaryDirectory() as folder, _prepared() as launcher:
        log = Path(folder) / "log"
        kinds: tuple[tuple[Launch, int], ...] = ((Process, 0), (launcher, launcher.pid))
        found: tuple[list[tuple[float, float]], ...] = ([], [])
        for number in range(rounds + 1):
            for times, (launch, zygote) in zip(found, kinds, strict=True):
                once = _start_once(launch, zygote, artifact, message, log)
                if number:
                    times.append(once)
        memory = [_measure_memory(launch, zygote, artifact, message, log) for launch, zygote in kinds]
    first, second = (
        Started(wall_ms=[wall for wall, _ in times], cpu_ms=[cpu for _, cpu in times], together_mb=together)
        for times, together in zip(found, memory, strict=True)
    )
    return first, second


@contextmanager
def _prepared() -> Iterator[Launcher]:
    launcher = Launcher(inherit=environment())
    try:
        launcher.prepare(deployed=True)
        time.sleep(SETTLE_S)
        yield launcher
    finally:
        launcher.close()


def _start(launch: Launch, artifact: Path, message: Message, log: Path) -> Child:
    """Start a replica, and return it after its first prediction."""
    port = find_port()
    own = {"EAVES_ARTIFACT": str(artifact), "EAVES_HOST": "127.0.0.1", "PORT": str(port)}
    child = launch("functions", own, log, inherit=environment())
    wait_for_answer(lambda: child.exit_code, port, message)
    return child


def _start_once(launch: Launch, zygote: int, artifact: Path, message: Message, log: Path) -> tuple[float, float]:
    """Start and end a replica; return the elapsed time and the CPU time until its first prediction, ms."""
    before_ms = cpu_ms(zygote) if zygote else 0.0
    began_at = time.perf_counter()
    child = _start(launch, artifact, message, log)
    wall_ms = (time.perf_counter() - began_at) * 1000
    spent_ms = cpu_ms(child.pid) + (cpu_ms(zygote) - before_ms if zygote else 0.0)
    child.stop()
    return wall_ms, spent_ms


def _measure_memory(launch: Launch, zygote: int, artifact: Path, message: Message, log: Path) -> list[float]:
    """Return the memory (PSS) of the zygote, if any, and of each number of replicas in `COUNTS`, MB."""
    children: list[Child] = []
    found = []
    try:
        for count in COUNTS:
            while len(children) < count:
                children.append(_start(launch, artifact, message, log))
            pids = [child.pid for child in children] + ([zygote] if zygote else [])
            found.append(sum(memory_bytes(pid, "Pss") for pid in pids) / 1e6)
    finally:
        for child in children:
            child.stop()
    return found
