"""Measures four cameras with one frame a second: Eaves, Debian's ffmpeg as the child, PyAV alone, and the floor."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from bench.camera.processes import FFMPEG, Reader, read_bare, run_agent, run_children, serve_cameras
from bench.material import Setup
from bench.measure import take_turns
from bench.processes import cpu_ms, environment, memory_mb, python
from bench.report import Figure, Section, Table

CAMERAS = 4
CORE_PERCENT, OWN_MB = 15.0, 25.0
SETTLE_S = 3.0
OURS, FLOOR = "Eaves", "PyAV, nothing decoded (floor)"
DECODER = "eaves.plugins.camera.decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What some cameras cost.

    Attributes:
        children_percent: CPU time of the children, in percent of one core.
        agent_percent: CPU time of the agent, in percent of one core; 0 where there is none.
        per_second: Frames that were taken.
        child_mb: Memory of one child (PSS), MB.
        agent_mb: Memory of the agent (PSS), MB; 0 where there is none.
    """

    children_percent: float
    agent_percent: float
    per_second: float
    child_mb: float
    agent_mb: float


def measure(setup: Setup) -> Section:
    """Measure all arms in turn."""
    with serve_cameras(CAMERAS) as urls:
        arms: dict[str, Callable[[], AbstractContextManager[Reader]]] = {OURS: partial(run_agent, urls)}
        notes = () if shutil.which("ffmpeg") else ("ffmpeg was not measured: it is not installed.",)
        if not notes:
            commands = [[word.format(url=url) for word in FFMPEG.split()] for url in urls]
            arms["ffmpeg as the child"] = partial(run_children, commands)
        arms["PyAV alone"] = partial(run_children, [read_bare(url, "keys") for url in urls])
        arms[FLOOR] = partial(run_children, [read_bare(url, "copy") for url in urls], has_images=False)
        seconds = 5 if setup.is_quick else 10
        subjects = {name: partial(_observe, arm, seconds) for name, arm in arms.items()}
        found, failed = take_turns(subjects, 1 if setup.is_quick else 3)
    if failed:
        raise RuntimeError(str(failed))
    with run_agent(()) as idle:
        time.sleep(SETTLE_S)
        folder_mb = memory_mb(idle.agent, descendants=False)
    return build_section(found, folder_mb, _measure_child(), notes)


def build_section(
    found: Mapping[str, Sequence[Load]], folder_mb: float, child: tuple[float, float], notes: tuple[str, ...]
) -> Section:
    """Return the section of all turns by arm, an agent's memory with a folder, and PSS and RSS of an idle child."""
    loads = {name: [statistics.median(getattr(one, field) for one in turns) for field in Load.__dataclass_fields__]
             for name, turns in found.items()}  # fmt: skip
    children, agent, _, child_mb, agent_mb = loads[OURS]
    figures = (
        Figure(
            name="4 cameras, 1080p H.264, 1 frame/s each: CPU time of children and agent, of a core",
            value=children + agent,
            unit="%",
            bar=CORE_PERCENT,
            measured=f"children {children:.1f} %, agent {agent:.1f} %; the streams read and not decoded"
            f" {loads[FLOOR][0]:.1f} %",
        ),
        Figure(
            name="memory of a child without PyAV (RSS)",
            value=child[1],
            unit="MB",
            bar=OWN_MB,
            measured=f"PSS {child[0]:.1f} MB; with PyAV and a 1080p stream PSS {child_mb:.1f} MB",
        ),
        Figure(
            name="memory that a camera adds to the agent (PSS)",
            value=(agent_mb - folder_mb) / CAMERAS,
            unit="MB",
            measured=f"{folder_mb:.1f} MB with a folder, {agent_mb:.1f} MB with {CAMERAS} cameras",
        ),
    )
    rows = tuple((name, *(f"{value:.1f}" if value else "" for value in values)) for name, values in loads.items())
    heads = ("", "children, % of a core", "agent, % of a core", "frames/s", "PSS of a child MB", "PSS of the agent MB")
    return Section(figures=figures, tables=(Table(heads=heads, rows=rows),), notes=notes)


def _observe(arm: Callable[[], AbstractContextManager[Reader]], seconds: float) -> Load:
    with arm() as one:
        time.sleep(SETTLE_S)
        begun_at, frames = time.monotonic(), one.count()
        before = _spend(one)
        time.sleep(seconds)
        spent_ms, passed_ms = _spend(one), (time.monotonic() - begun_at) * 1000
        return Load(
            children_percent=(spent_ms[0] - before[0]) / passed_ms * 100,
            agent_percent=(spent_ms[1] - before[1]) / passed_ms * 100,
            per_second=(one.count() - frames) / passed_ms * 1000,
            child_mb=statistics.mean(map(memory_mb, one.children)),
            agent_mb=memory_mb(one.agent, descendants=False) if one.agent else 0.0,
        )


def _spend(one: Reader) -> tuple[float, float]:
    """Return the CPU time of the children and of the agent so far, ms."""
    return sum(map(cpu_ms, one.children)), cpu_ms(one.agent, descendants=False) if one.agent else 0.0


def _measure_child() -> tuple[float, float]:
    """Return PSS and RSS of a decoder that has not loaded PyAV yet, MB."""
    command = [python(), "-P", "-m", DECODER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment())
    time.sleep(2)
    found = memory_mb(process.pid), memory_mb(process.pid, "Rss")
    process.kill()
    process.communicate()
    return found
