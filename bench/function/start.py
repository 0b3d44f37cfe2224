"""Benchmark of a function's start and memory as a plain process, compared with a script that predicts one image."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.material import Material, Setup, measure_each
from bench.measure import take_turns
from bench.processes import (
    ROOT,
    SETTLE_S,
    Message,
    Start,
    environment,
    function_command,
    function_environment,
    measure_start,
    python,
)
from bench.report import Chart, Figure, Section, Table
from tests.ports import find_port

ROUNDS = 9
"""Number of new processes of each kind; one more round runs first and isn't counted."""
BARE = "bare script, exported fp32"
SCRIPT = ROOT / "bench/function/bare.py"
WALL_BARS = {"Eaves, fp32": 0.9, "Eaves, int8": 0.65}
"""Maximum ratio of each function's start time to the bare script's (elapsed time), as set for Inception V3."""
MEMORY_BAR = 1.1
"""Maximum ratio of a function's PSS to the bare script's."""


def measure(setup: Setup) -> Section:
    """Measure the start and the memory of the bare script and of functions, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    kinds: dict[str, Callable[[], Start]] = {BARE: lambda: measure_bare(material)}
    for precision, artifact in material.precisions.items():
        kinds[f"Eaves, {precision}"] = lambda artifact=artifact: measure_function(artifact, material.image)  # type: ignore[misc]
    found, failed = take_turns(kinds, setup.rounds(ROUNDS), warm_up=True)
    if failed:
        raise RuntimeError(str(failed))
    return build_section(found)


def measure_function(artifact: Path, image: Path, root: Path = ROOT, *, settle_s: float = SETTLE_S) -> Start:
    """Start a function of a checkout, and measure it until it has predicted the image; its memory `settle_s` later."""
    port, message = find_port(), Message(body=image.read_bytes())
    return measure_start(function_command(root), function_environment(artifact, port, root), port, message, settle_s)


def measure_bare(material: Material) -> Start:
    """Run the minimal script bench/function/bare.py, and measure it until it has printed its prediction."""
    return run_bare([python(), "-P", str(SCRIPT), str(material.exported), str(material.image)], environment())


def run_bare(command: Sequence[str], environ: Mapping[str, str]) -> Start:
    """Run a command that starts bench/function/bare.py, and measure it until it has printed its prediction."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=dict(environ), cwd="/", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wall_ms = (time.perf_counter() - start) * 1000
        cpu_ms, rss_mb, pss_mb, read_mb = json.loads(process.stdout.readline())
    return Start(wall_ms=wall_ms, cpu_ms=cpu_ms, rss_mb=rss_mb, pss_mb=pss_mb, read_mb=read_mb)


def median(starts: Sequence[Start], what: str) -> float:
    """Return the median of one measurement of the starts."""
    return float(statistics.median(getattr(one, what) for one in starts))


def build_section(found: Mapping[str, Sequence[Start]]) -> Section:
    """Return the section of all starts by kind."""
    bare_ms, bare_mb = median(found[BARE], "wall_ms"), median(found[BARE], "pss_mb")
    figures, rows = [], []
    for name, starts in found.items():
        wall_ms, pss_mb = median(starts, "wall_ms"), median(starts, "pss_mb")
        cells = [f"{wall_ms:.0f}", f"{min(one.wall_ms for one in starts):.0f}", f"{median(starts, 'cpu_ms'):.0f}"]
        rows.append((name, *cells, f"{pss_mb:.0f}", f"{median(starts, 'rss_mb'):.0f}"))
        if name == BARE:
            continue
        for what, value, bare, unit, bar in (
            ("start", wall_ms, bare_ms, "ms", WALL_BARS[name]),
            ("PSS", pss_mb, bare_mb, "MB", MEMORY_BAR),
        ):
            text = f"{value:.0f} {unit} of {bare:.0f} {unit}"
            figures.append(Figure(name=f"{name}, {what} of bare", value=value / bare, bar=bar, measured=text))
    heads = ("", "start ms", "minimum", "CPU ms", "PSS MB", "RSS MB")
    title = f"From exec to the first prediction, medians of {len(found[BARE])} starts, and the memory after it:"
    values = {name: median(starts, "pss_mb") for name, starts in found.items()}
    chart = Chart(name="memory", title="PSS after the first prediction, MB (shorter is better)", values=values)
    table = Table(title=title, heads=heads, rows=tuple(rows))
    return Section(figures=tuple(figures), tables=(table,), charts=(chart,))
