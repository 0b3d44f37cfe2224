"""Benchmark of a function's start and memory as a plain process, compared with a script that predicts one image."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.function.process import FUNCTION, Message, Start, function_environment, measure_bare, measure_start
from bench.material import Material, Setup, measure_each
from bench.report.section import Bar, Chart, Figure, Section, Table
from tests.ports import find_port

ROUNDS = 9
"""Number of new processes of each kind; the kinds alternate. One more round runs first and isn't counted."""
BARE = "bare script, exported fp32"
WALL_BARS = {"Eaves, fp32": 0.9, "Eaves, int8": 0.65}
"""Maximum allowed ratio of each function's start time to the bare script's (elapsed time)."""
MEMORY_BAR = 1.1
"""Maximum allowed ratio of a function's PSS to the bare script's."""


def measure_section(setup: Setup) -> Section:
    """Measure the start and the memory of the bare script and of functions, with each model."""
    return measure_each(setup, lambda setup, material: build_section(measure(material, setup.rounds(ROUNDS))))


def measure(material: Material, rounds: int) -> dict[str, list[Start]]:
    """Return the measurements of all starts by kind: the bare script, and functions with fp32 and int8."""
    image = Message(body=material.image.read_bytes())

    def function(artifact: Path) -> Callable[[], Start]:
        def measured() -> Start:
            port = find_port()
            return measure_start(FUNCTION, function_environment(artifact, port), port, image)

        return measured

    kinds = {
        BARE: lambda: measure_bare(material.exported, material.image),
        **{f"Eaves, {precision}": function(artifact) for precision, artifact in material.precisions.items()},
    }
    found: dict[str, list[Start]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        print(f"starts of {material.name}: round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, once in kinds.items():
            start = once()
            found[name] += [start] if number else []
    return found


def build_section(found: Mapping[str, Sequence[Start]]) -> Section:
    """Return the section of the measurements that `measure` returned."""

    def median(name: str, what: str) -> float:
        return float(statistics.median(getattr(one, what) for one in found[name]))

    figures, rows = [], []
    for name, starts in found.items():
        wall, pss = median(name, "wall_ms"), median(name, "proportional_mb")
        cells = [name, f"{wall:.0f}", f"{min(one.wall_ms for one in starts):.0f}", f"{median(name, 'cpu_ms'):.0f}"]
        ratios = ["", ""]
        if name != BARE:
            precision = name.removeprefix("Eaves, ")
            start = Figure(
                name=f"{precision}, start of the bare script's",
                value=wall / median(BARE, "wall_ms"),
                bar=WALL_BARS[name],
                measured=f"{wall:.0f} ms of {median(BARE, 'wall_ms'):.0f} ms",
            )
            memory = Figure(
                name=f"{precision}, PSS of the bare script's",
                value=pss / median(BARE, "proportional_mb"),
                bar=MEMORY_BAR,
                measured=f"{pss:.0f} MB of {median(BARE, 'proportional_mb'):.0f} MB",
            )
            figures += [start, memory]
            ratios = [start.render_value(), memory.render_value()]
        rows.append((*cells, ratios[0], f"{pss:.0f}", f"{median(name, 'resident_mb'):.0f}", ratios[1]))
    heads = ("", "start ms", "minimum", "CPU ms", "of bare", "PSS MB", "RSS MB", "PSS of bare")
    title = f"From exec to the first prediction, medians of {len(found[BARE])} starts, and the memory after it:"
    bars = tuple(
        Bar(label=name, values=(pss,), is_ours=name != BARE, note=f"{pss:.0f} MB")
        for name, pss in ((name, median(name, "proportional_mb")) for name in found)
    )
    chart = Chart(name="memory", title="PSS after the first prediction, MB (shorter is better)", bars=bars)
    table = Table(title=title, heads=heads, rows=tuple(rows))
    return Section(figures=tuple(figures), tables=(table,), charts=(chart,))
