"""Benchmark of a platform that has nothing to do: one app with a watched directory and one function.

The function is scaled to zero on one platform, and has one running replica on another one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.function.process import cpu_ms, environment
from bench.local.platform import APP, wait_until
from bench.measure.process import memory_bytes, tree
from eaves.artifact import open_artifact
from eaves.local.client import LocalPlatform
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import ScaleSettings, SourceSpec, default_trigger
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact

STATES = {0: "idle", 1: "ready"}
"""State that `eaves status` shows for a function without work, by the minimum number of replicas."""
SETTLE_S = 3.0
"""Seconds from the last prediction to the first measurement, so that all work has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Measurements of a platform that has nothing to do.

    Attributes:
        replicas: Number of replicas that keep running.
        core_percent: CPU time of all processes of the platform, percent of one core.
        switches_per_second: Voluntary context switches of all threads per second; each of them was a wake-up.
        processes: Number of processes: `eaves up`, the agent, and the replica.
        together_mb: Memory of all processes of the platform together (PSS), MB.
    """

    replicas: int
    core_percent: float
    switches_per_second: float
    processes: int
    together_mb: float


def measure(seconds: float) -> list[Rest]:
    """Measure two platforms at the same time for the given seconds: without a replica, and with one.

    Unlike in the other benchmarks, the replica is a real function with a model.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="eaves-")))
        artifact = write_graph_artifact(folder / "artifact").path
        pids = {count: opened.enter_context(_resting(folder / str(count), artifact, count)) for count in STATES}
        time.sleep(SETTLE_S)
        began_at = time.monotonic()
        before = {count: _spent(pid) for count, pid in pids.items()}
        time.sleep(seconds)
        took_s = time.monotonic() - began_at
        found = []
        for count, pid in pids.items():
            spent = [after - earlier for after, earlier in zip(_spent(pid), before[count], strict=True)]
            found.append(
                Rest(
                    replicas=count,
                    core_percent=spent[0] / 10 / took_s,
                    switches_per_second=spent[1] / took_s,
                    processes=len(list(tree(pid))),
                    together_mb=sum(memory_bytes(one, "Pss") for one in tree(pid)) / 1e6,
                )
            )
        return found


@contextmanager
def _resting(folder: Path, artifact: Path, replicas: int) -> Iterator[int]:
    """Start a platform and wait until it has predicted one image and is idle; yield the process id of `eaves up`."""
    (folder / "images").mkdir(parents=True)
    state = StateDirectory(root=folder / "s")
    scale = ScaleSettings(min=replicas, idle_s=0.5)
    digest = open_artifact(artifact).digest
    function = LocalFunction(name=APP, site=APP, artifact=artifact, artifact_digest=digest, scale=scale)
    source = SourceSpec(name="inbox", options={"path": str(folder / "images")})
    state.write_spec(LocalApp(function=function, triggers=(default_trigger(APP),), sources=(source,)))
    command = [sys.executable, "-P", "-m", "eaves.cli", "up", "--port", "0", "--state", str(state.root)]
    up = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        platform = LocalPlatform(state.root)
        wait_until(platform.running)
        (folder / "images" / "one.png").write_bytes(encode_png(COLOURS["red"]))
        wait_until(lambda: _rests(platform, STATES[replicas]), pause_s=0.2)
        yield up.pid
    finally:
        up.terminate()
        up.wait(60)


def _rests(platform: LocalPlatform, state: str) -> bool:
    (status,) = platform.status()
    return bool(status.delivered and not status.queued and status.state == state)


def _spent(pid: int) -> tuple[float, int]:
    """Return the CPU time (ms) and the number of context switches so far of a process and all its descendants."""
    pids = list(tree(pid))
    switches = 0
    for task in (task for one in pids for task in Path(f"/proc/{one}/task").iterdir()):
        lines = (task / "status").read_text().splitlines()
        switches += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return sum(map(cpu_ms, pids)), switches
