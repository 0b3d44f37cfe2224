"""Benchmark of one image at a time: Eaves and other servers in turn, beside the floor without HTTP."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from bench.function.floor import open_floor
from bench.material import Material, Setup, measure_each
from bench.measure import Load, find_median_interval, take_turns
from bench.report import Chart, Figure, Section, Table, bold
from bench.servers.catalogue import build_ours, install_peers
from bench.servers.running import require_ours, run_servers

ROUNDS, TURN = 15, 6
"""Number of rounds, and of images that each server predicts in its turn; the first image of a turn is not counted."""
FLOOR_BAR_MS = 1.0
"""Maximum time that the function may add to the floor's median, ms."""
PEER_BAR = 1.0
"""Maximum of the lower end of the 95 % interval of the ratio to the fastest other server: a larger one means that the
function is slower."""


def measure(setup: Setup) -> Section:
    """Measure the floor, Eaves and all other servers that can be installed, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    peers, missing = install_peers(setup, material)
    cpus = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        running, failed = stack.enter_context(run_servers([*build_ours(material), *peers], material.image.read_bytes()))
        subjects = {one.server.name: partial(one.send, TURN) for one in running}
        for precision, artifact in material.precisions.items():
            floor = stack.enter_context(open_floor(artifact, material.image))
            for threads in range(1, cpus + 1):
                subjects[f"floor, {precision}, {threads} threads"] = partial(floor.ask, threads=threads, count=TURN)
        found, broken = take_turns(subjects, setup.rounds(ROUNDS), warm_up=True)
    require_ours({**failed, **broken})
    threads_of = {one.server.name: one.server.threads for one in running}
    return build_section(found, threads_of, {**missing, **failed, **broken})


def p50_ms(turns: Sequence[Load]) -> float:
    """Return the median time of an image in all turns, ms."""
    return statistics.median(latency for turn in turns for latency in turn.latencies_ms[1:])


def build_section(
    found: Mapping[str, Sequence[Load]], threads: Mapping[str, str], missing: Mapping[str, str]
) -> Section:
    """Return the section of all turns by name; a floor's name is `floor, PRECISION, N threads`, and the best counts."""
    floors = {
        precision: min(
            (name for name in found if name.startswith(f"floor, {precision}")), key=lambda n: p50_ms(found[n])
        )
        for precision in ("fp32", "int8")
    }
    figures = []
    for precision, name in floors.items():
        ours, floor = p50_ms(found[f"Eaves, {precision}"]), p50_ms(found[name])
        what, text = f"{precision}, p50 above the floor", f"{ours:.1f} ms, {name} {floor:.1f} ms"
        figures.append(Figure(name=what, value=ours - floor, unit="ms", bar=FLOOR_BAR_MS, measured=text))
    peers = [name for name in found if not name.startswith(("Eaves", "floor"))]
    fastest = min(peers, key=lambda name: p50_ms(found[name]), default="")
    if fastest:
        figures.append(_compare(found["Eaves, fp32"], found[fastest], fastest))
    names = sorted(
        (name for name in found if not name.startswith("floor") or name in floors.values()),
        key=lambda name: "int8" in name,
    )
    rows = []
    for name in names:
        above = p50_ms(found[name]) - p50_ms(found[floors["int8" if "int8" in name else "fp32"]])
        loses = name == "Eaves, fp32" and fastest and p50_ms(found[name]) > p50_ms(found[fastest])
        latencies = [latency for turn in found[name] for latency in turn.latencies_ms[1:]]
        cells = [name, bold(f"{p50_ms(found[name]):.1f}", when=bool(loses))]
        cells += [f"{statistics.quantiles(latencies, n=20)[-1]:.1f}", f"{above:+.2f}"]
        cells += [f"{statistics.median(turn.cpu_ms for turn in found[name]):.1f}", threads.get(name, "")]
        rows.append(tuple(cells))
    rows += [(name, "", "", "", "", reason) for name, reason in missing.items()]
    heads = ("", "p50 ms", "p95 ms", "above the floor, ms", "CPU ms", "threads")
    title = "One image at a time, median ms (shorter is better)"
    chart = Chart(name="one-at-a-time", title=title, values={name: p50_ms(found[name]) for name in names})
    return Section(figures=tuple(figures), tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,))


def _compare(ours: Sequence[Load], others: Sequence[Load], name: str) -> Figure:
    """Return the figure of the function beside the fastest other server, whose turns are paired by their rounds."""
    low, high = find_median_interval([p50_ms([one]) / p50_ms([other]) for one, other in zip(ours, others, strict=True)])
    return Figure(
        name="fp32, p50 of the fastest other server, lower end of the 95 % interval",
        value=low,
        bar=PEER_BAR,
        measured=f"{low:.2f} to {high:.2f}; {p50_ms(ours):.1f} ms of {p50_ms(others):.1f} ms ({name})",
    )
