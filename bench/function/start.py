"""Benchmark of a function's start and memory as a plain process, compared with a script that predicts one image.

The bars are those of Inception V3.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.function.process import FUNCTION, Message, Start, function_environment, measure_bare, measure_start
from bench.material import Material, Setup
from bench.report.section import Bar, Chart, Figure, Section, Table, bold
from tests.ports import find_port

ROUNDS = 9
"""Number of new processes of each kind; the kinds alternate. One more round runs first and isn't counted."""
BARE = "bare script, exported fp32"
FP32, FP32_NONE = "Eaves, fp32, golden check", "Eaves, fp32, no check"
FITTED, FITTED_NONE = "Eaves, fp32 for this CPU, golden check", "Eaves, fp32 for this CPU, no check"
INT8, INT8_NONE = "Eaves, int8, golden check", "Eaves, int8, no check"
WALL_BARS = {FP32: 0.9, FP32_NONE: 0.8, FITTED: 0.9, FITTED_NONE: 0.8, INT8: 0.65, INT8_NONE: 0.6}
"""Maximum allowed ratio of each function's start time to the bare script's (elapsed time)."""
FP32_MEMORY_BAR = 0.75
"""Maximum allowed ratio of the fp32 function's PSS to the bare script's RSS."""
INT8_MEMORY_BAR_MB = 130.0


def measure_section(setup: Setup) -> Section:
    """Measure the start and the memory of the bare script and of functions."""
    return build_section(measure(setup.need_material(), rounds=setup.rounds(ROUNDS)))


def measure(material: Material, *, rounds: int = ROUNDS) -> dict[str, list[Start]]:
    """Measure starts of the bare script, and of functions with fp32 and int8 models.

    Return the measurements of all starts by kind: the script, and each model with and without a golden check.
    """
    image = Message(body=material.image.read_bytes())

    def function(artifact: Path, self_test: str) -> Callable[[], Start]:
        def measured() -> Start:
            port = find_port()
            environ = function_environment(artifact, port, EAVES_SELF_TEST=self_test)
            return measure_start(FUNCTION, environ, port, image)

        return measured

    kinds: dict[str, Callable[[], Start]] = {
        BARE: lambda: measure_bare(material.exported, material.image),
        FP32: function(material.fp32, "first"),
        FP32_NONE: function(material.fp32, "none"),
        INT8: function(material.int8, "first"),
        INT8_NONE: function(material.int8, "none"),
    }
    if material.fitted is not None:
        kinds |= {FITTED: function(material.fitted, "first"), FITTED_NONE: function(material.fitted, "none")}
    found: dict[str, list[Start]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        print(f"starts: round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, once in kinds.items():
            start = once()
            if number:
                found[name].append(start)
    return found


def build_section(found: Mapping[str, Sequence[Start]]) -> Section:
    """Return the section of the measurements that `measure` returned."""
    wall, memory = _start_figures(found), _memory_figures(found)
    return Section(
        figures=(*wall.values(), *memory.values()),
        tables=(_start_table(found, wall), _memory_table(found, memory)),
        charts=(_chart(found),),
    )


def _median(found: Mapping[str, Sequence[Start]], name: str, what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in found[name]))


def _start_figures(found: Mapping[str, Sequence[Start]]) -> dict[str, Figure]:
    bare = _median(found, BARE, "wall_ms")
    figures = {}
    for name, bar in WALL_BARS.items():
        if name not in found:
            continue
        wall = _median(found, name, "wall_ms")
        text = f"{wall:.0f} ms of {bare:.0f} ms"
        what = f"{name.removeprefix('Eaves, ')}, start of the bare script's"
        figures[name] = Figure(name=what, value=wall / bare, bar=bar, measured=text)
    return figures


def _memory_figures(found: Mapping[str, Sequence[Start]]) -> dict[str, Figure]:
    bare = _median(found, BARE, "resident_mb")
    figures = {}
    for kind in (FP32, FITTED):
        if kind in found:
            pss = _median(found, kind, "proportional_mb")
            name = f"{kind.removeprefix('Eaves, ').removesuffix(', golden check')}, PSS of the bare script's RSS"
            text = f"{pss:.0f} MB of {bare:.0f} MB"
            figures[kind] = Figure(name=name, value=pss / bare, bar=FP32_MEMORY_BAR, measured=text)
    int8 = _median(found, INT8, "proportional_mb")
    return {**figures, INT8: Figure(name="int8, PSS", value=int8, unit="MB", bar=INT8_MEMORY_BAR_MB)}


def _start_table(found: Mapping[str, Sequence[Start]], figures: Mapping[str, Figure]) -> Table:
    rows = []
    for name, starts in found.items():
        figure = figures.get(name)
        cells = [name, f"{_median(found, name, 'wall_ms'):.0f}", f"{min(one.wall_ms for one in starts):.0f}"]
        cells += [f"{_median(found, name, 'cpu_ms'):.0f}", "" if figure is None else figure.render_value()]
        rows.append((*cells, "" if figure is None else figure.render_bar()))
    heads = ("", "start ms", "minimum", "CPU ms", "of bare", "bar")
    rounds = len(found[BARE])
    return Table(title=f"From exec to the first prediction, medians of {rounds} starts:", heads=heads, rows=tuple(rows))


def _memory_table(found: Mapping[str, Sequence[Start]], figures: Mapping[str, Figure]) -> Table:
    rows = []
    bare = _median(found, BARE, "resident_mb")
    for name in (name for name in (BARE, FP32, FITTED, INT8) if name in found):
        pss, figure = _median(found, name, "proportional_mb"), figures.get(name)
        missed = figure is not None and not figure.is_met
        cells = [
            name,
            bold(f"{pss:.0f}", when=missed),
            f"{_median(found, name, 'resident_mb'):.0f}",
            f"{pss / bare:.2f}",
        ]
        rows.append((*cells, "" if figure is None else figure.render_bar()))
    heads = ("", "PSS MB", "RSS MB", "PSS of bare RSS", "bar")
    return Table(title="Memory after the first prediction, medians:", heads=heads, rows=tuple(rows))


def _chart(found: Mapping[str, Sequence[Start]]) -> Chart:
    bars = []
    for name in (name for name in (BARE, FP32, FITTED, INT8) if name in found):
        value = _median(found, name, "resident_mb" if name == BARE else "proportional_mb")
        label = "bare script, RSS" if name == BARE else f"{name.removesuffix(', golden check')}, PSS"
        bars.append(Bar(label=label, values=(value,), is_ours=name != BARE, note=f"{value:.0f} MB"))
    limit = ("bar of fp32", FP32_MEMORY_BAR * bars[0].values[0])
    title = "Memory after the first prediction, MB (shorter is better)"
    return Chart(name="memory", title=title, bars=tuple(bars), limits=(limit,))
