"""Benchmark of one image at a time: Eaves and other servers in turn, beside the floor without HTTP."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.function.floor import Floor, open_floor
from bench.material import Material, Setup, measure_each
from bench.measure.load import LoadError
from bench.measure.timing import find_median_interval
from bench.report.section import Bar, Chart, Figure, Section, Table, bold
from bench.servers.catalogue import build_ours, install_peers
from bench.servers.running import Running, drop_failing, require_ours, run_servers

ROUNDS, TURN = 15, 6
"""Number of rounds, and of images that each server predicts in its turn; the first image of a turn is not counted."""
REST_S = 0.05
"""Seconds between two turns, so that threads of the last server that still spin don't disturb the next one."""
FLOOR_BAR_MS = 1.0
"""Maximum time that the function may add to the floor's median, ms."""
PEER_BAR = 1.0
"""Maximum of the lower end of the 95 % interval of the ratio to the fastest other server: a larger one means that the
function is slower."""


@dataclass(slots=True, kw_only=True)
class Times:
    """Measurements of one server, or of the floor with one number of threads.

    Attributes:
        name: Name in the table.
        threads: Its threads, as a text.
        latencies_ms: Time of each counted image, ms.
        cpu_ms: CPU time of each image on average, for each turn, ms.
    """

    name: str
    threads: str
    latencies_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        """Median time of one image, ms."""
        return statistics.median(self.latencies_ms)

    @property
    def turns_ms(self) -> list[float]:
        """Median time of one image in each turn, ms."""
        size = TURN - 1
        return [statistics.median(self.latencies_ms[at : at + size]) for at in range(0, len(self.latencies_ms), size)]


def measure(setup: Setup) -> Section:
    """Measure the floor, Eaves and all other servers that can be installed, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    peers, missing = install_peers(setup, material)
    servers = [*build_ours(material), *peers]
    with ExitStack() as stack:
        floors = {
            precision: stack.enter_context(open_floor(artifact, material.image))
            for precision, artifact in material.precisions.items()
        }
        running, failed = stack.enter_context(run_servers(servers, material.image.read_bytes()))
        running, silent = drop_failing(running, connections=1, count=TURN)
        require_ours({**failed, **silent})
        found = take_turns(floors, running, setup.rounds(ROUNDS))
        require_ours(found.failed)
    best = {precision: min(times, key=lambda one: one.p50_ms) for precision, times in found.floors.items()}
    return build_section(best, found.servers, {**missing, **failed, **silent, **found.failed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All measurements.

    Attributes:
        floors: Measurements of the floor by precision, for each number of threads.
        servers: Measurements of each server by its name.
        failed: Names of the servers that failed in one of their turns, with the reason; they have no measurements.
    """

    floors: Mapping[str, list[Times]]
    servers: dict[str, Times]
    failed: dict[str, str]


def take_turns(floors: Mapping[str, Floor], running: Sequence[Running], rounds: int) -> Found:
    """Let the floors, with 1 to all threads, and the servers predict images in turn, `rounds` times."""
    cpus = len(os.sched_getaffinity(0))
    found = Found(
        floors={
            name: [Times(name=f"floor, {name}", threads=f"{threads}, no spinning") for threads in range(1, cpus + 1)]
            for name in floors
        },
        servers={one.server.name: Times(name=one.server.name, threads=one.server.threads) for one in running},
        failed={},
    )
    for number in range(rounds):
        print(f"one image at a time: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, floor in floors.items():
            for threads, times in enumerate(found.floors[name], 1):
                time.sleep(REST_S)
                looped = floor.ask(threads=threads, count=TURN)
                times.latencies_ms += looped.durations_ms[1:]
                times.cpu_ms.append(looped.cpu_ms)
        for one in [one for one in running if one.server.name in found.servers]:
            time.sleep(REST_S)
            try:
                _send(one, found.servers[one.server.name])
            except (LoadError, OSError) as error:
                found.failed[one.server.name] = f"it failed in round {number + 1}: {error}"[:200]
                del found.servers[one.server.name]
    return found


def _send(one: Running, times: Times) -> None:
    before = one.cpu_ms()
    times.latencies_ms += one.send(connections=1, count=TURN).latencies_ms[1:]
    times.cpu_ms.append((one.cpu_ms() - before) / TURN)


def build_section(floors: Mapping[str, Times], servers: Mapping[str, Times], missing: Mapping[str, str]) -> Section:
    """Return the section; `floors` has the best floor of each precision."""
    peers = {name: times for name, times in servers.items() if not name.startswith("Eaves")}
    fastest = min(peers.values(), key=lambda one: one.p50_ms, default=None)
    figures, rows = [], []
    in_order = sorted((*floors.values(), *servers.values()), key=lambda one: one.name.endswith("int8"))
    for precision, floor in floors.items():
        ours = servers[f"Eaves, {precision}"]
        text = f"{ours.p50_ms:.1f} ms, floor {floor.p50_ms:.1f} ms ({floor.threads})"
        above, name = ours.p50_ms - floor.p50_ms, f"{precision}, p50 above the floor"
        figures.append(Figure(name=name, value=above, unit="ms", bar=FLOOR_BAR_MS, measured=text))
    if fastest is not None:
        figures.append(_compare(servers["Eaves, fp32"], fastest))
    for times in in_order:
        floor = floors["int8" if times.name.endswith("int8") else "fp32"]
        loses = times.name == "Eaves, fp32" and fastest is not None and times.p50_ms > fastest.p50_ms
        p95, above = statistics.quantiles(times.latencies_ms, n=20)[-1], times.p50_ms - floor.p50_ms
        cells = [times.name, bold(f"{times.p50_ms:.1f}", when=loses), f"{p95:.1f}"]
        missed = times.name.startswith("Eaves") and above >= FLOOR_BAR_MS + 0.005
        cells += [bold(f"{above:+.2f}", when=missed), f"{statistics.median(times.cpu_ms):.1f}"]
        rows.append((*cells, times.threads))
    rows += [(name, "", "", "", "", reason) for name, reason in missing.items()]
    heads = ("", "p50 ms", "p95 ms", "above the floor, ms", "CPU ms", "threads")
    bars = [
        Bar(label=one.name, values=(one.p50_ms,), is_ours=one.name.startswith("Eaves"), note=f"{one.p50_ms:.0f} ms")
        for one in in_order
    ]
    limits = tuple((f"floor, {name}", one.p50_ms) for name, one in floors.items())
    title = "One image at a time, median ms (shorter is better)"
    chart = Chart(name="one-at-a-time", title=title, bars=tuple(bars), limits=limits)
    note = "Other servers serve the fp32 model that tf2onnx exports, or TensorFlow's SavedModel."
    return Section(
        figures=tuple(figures), tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,), notes=(note,)
    )


def _compare(ours: Times, fastest: Times) -> Figure:
    """Return the figure of the function beside the fastest other server, whose turns are paired by their rounds."""
    ratios = [one / other for one, other in zip(ours.turns_ms, fastest.turns_ms, strict=True)]
    low, high = find_median_interval(ratios)
    return Figure(
        name="fp32, p50 of the fastest other server, lower end of the 95 % interval",
        value=low,
        bar=PEER_BAR,
        measured=f"{low:.2f} to {high:.2f}; {ours.p50_ms:.1f} ms of {fastest.p50_ms:.1f} ms ({fastest.name})",
    )
