"""Results of benchmarks for the tests."""

from __future__ import annotations

from bench.registry import Part
from bench.report.machine import Machine
from bench.report.section import Bar, Chart, Figure, Section, Table
from bench.report.store import Result

AMD = Machine(
    cpu="AMD EPYC", flags="avx2", cpus=2, memory_gb=24.0, kernel="Linux 6", versions="Python 3", commit="c0ffee"
)
INTEL = Machine(cpu="Intel Xeon", flags="", cpus=8, memory_gb=64.0, kernel="Linux 6", versions="Python 3", commit="")
SPEED = Part(name="speed", title="Speed, measured", text="It measures speed.", measure="nowhere:measure")
START = Part(name="start", title="Start", text="It measures a start.", measure="nowhere:measure")
PARTS = (SPEED, START)


def build_figure(
    value: float, bar: float | None = 1.05, *, is_minimum: bool = False, is_headline: bool = True
) -> Figure:
    return Figure(name="of the floor", value=value, bar=bar, is_minimum=is_minimum, is_headline=is_headline)


def build_result(*figures: Figure, machine: Machine = AMD) -> Result:
    chart = Chart(name="speed", title="Speed, ms", bars=(Bar(label="Eaves", values=(2.0,), is_ours=True),))
    table = Table(title="All values:", heads=("", "ms"), rows=(("Eaves", "2.0"), ("other", "**3.0**")))
    section = Section(figures=figures, tables=(table,), charts=(chart,), notes=("It is a note.",))
    return Result(
        section=section, machine=machine, measured_at="2026-11-26 17:00", seconds=90, load=0.5, model="flowers"
    )


def build_missing(reason: str) -> Result:
    return Result(section=None, reason=reason, machine=AMD, measured_at="2026-11-26 17:00", seconds=1, load=0.5)
