"""Measures CPU time and memory of four cameras with one frame a second: Eaves, Debian's ffmpeg, and the floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.camera.agent import build_source, running
from bench.camera.cameras import CameraServer
from bench.camera.children import bare_copy, bare_keys, children, ffmpeg
from bench.camera.sink import accepting
from bench.function.process import cpu_ms
from bench.local.platform import wait_until
from bench.measure.process import memory_bytes

SETTLE_S = 3.0
PYAV = ("/av.libs/", "/av/")
"""Parts of the paths of PyAV's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What some cameras cost.

    Attributes:
        core_percent: CPU time of the children, in percent of one core.
        parent_percent: CPU time of the agent, in percent of one core; 0 where there is none.
        frames_per_second: Frames that were taken.
        child_mb: Memory of one child (PSS), MB.
        library_mb: Part of it that is mapped from files of PyAV, MB.
        parent_mb: Memory of the agent (PSS), MB; 0 where there is none.
    """

    core_percent: float
    parent_percent: float = 0.0
    frames_per_second: float
    child_mb: float
    library_mb: float = 0.0
    parent_mb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Processes that are measured.

    Attributes:
        pids: Ids of the children.
        parent: Id of the agent; 0 without one.
        count: Returns the number of frames so far.
    """

    pids: Sequence[int]
    parent: int = 0
    count: Callable[[], int]


def measure(server: CameraServer, seconds: float, rounds: int) -> dict[str, Load]:
    """Measure all arms in turns; return the medians by the name of the arm."""
    found: dict[str, list[Load]] = {}
    for _ in range(rounds):
        for name, arm in ARMS.items():
            with arm(server) as one:
                found.setdefault(name, []).append(_observe(one, seconds))
    return {name: _median(loads) for name, loads in found.items()}


def measure_parents(server: CameraServer, numbers: Sequence[int]) -> list[float]:
    """Return the memory of an agent (PSS) with each of these numbers of cameras, MB."""
    found = []
    for number in numbers:
        folder = [{"name": "idle", "kind": "folder", "path": "build"}]
        cameras = [build_source(f"c{index}", server.url(server.names[index])) for index in range(number)]
        with accepting() as sink, running(cameras or folder, sink=sink.url) as agent:
            wait_until(lambda agent=agent, number=number: len(agent.children) == number)  # type: ignore[misc]
            time.sleep(5)
            found.append(memory_bytes(agent.pid, "Pss") / 1e6)
    return found


@contextmanager
def _run_eaves(server: CameraServer) -> Iterator[Running]:
    sources = [build_source(name, server.url(name)) for name in server.names]
    with accepting() as sink, running(sources, sink=sink.url) as agent:
        wait_until(lambda: len({line.source for line in agent.read_log() if line.is_capture}) == len(sources))
        yield Running(pids=agent.children, parent=agent.pid, count=agent.count_captures)


def _run_children(
    command: Callable[[str], list[str]], *, has_images: bool
) -> Callable[[CameraServer], AbstractContextManager[Running]]:
    @contextmanager
    def run(server: CameraServer) -> Iterator[Running]:
        with children([command(server.url(name)) for name in server.names]) as started:
            wait_until(lambda: not has_images or all(child.images for child in started))
            yield Running(
                pids=[child.pid for child in started], count=lambda: sum(len(child.images) for child in started)
            )

    return run


ARMS = {
    "Eaves": _run_eaves,
    "ffmpeg as the child": _run_children(ffmpeg, has_images=True),
    "PyAV alone": _run_children(bare_keys, has_images=True),
    "PyAV, nothing decoded (floor)": _run_children(bare_copy, has_images=False),
}


def _observe(one: Running, seconds: float) -> Load:
    time.sleep(SETTLE_S)
    began, frames = time.monotonic(), one.count()
    spent, parent = sum(map(cpu_ms, one.pids)), cpu_ms(one.parent) if one.parent else 0.0
    time.sleep(seconds)
    passed_ms = (time.monotonic() - began) * 1_000
    return Load(
        core_percent=(sum(map(cpu_ms, one.pids)) - spent) / passed_ms * 100,
        parent_percent=(cpu_ms(one.parent) - parent) / passed_ms * 100 if one.parent else 0.0,
        frames_per_second=(one.count() - frames) / passed_ms * 1_000,
        child_mb=statistics.mean(memory_bytes(pid, "Pss") for pid in one.pids) / 1e6,
        library_mb=statistics.mean(map(library_bytes, one.pids)) / 1e6,
        parent_mb=memory_bytes(one.parent, "Pss") / 1e6 if one.parent else 0.0,
    )


def library_bytes(pid: int) -> int:
    """Return the memory of a process (PSS) that is mapped from PyAV's files. Source: proc_pid_smaps(5)."""
    total, is_library = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_library = len(words) > 5 and any(part in words[5] for part in PYAV)
        elif words[0] == "Pss:" and is_library:
            total += int(words[1]) * 1024
    return total


def _median(loads: Sequence[Load]) -> Load:
    names = Load.__dataclass_fields__
    return Load(**{name: statistics.median(getattr(one, name) for one in loads) for name in names})
