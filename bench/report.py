"""Values that a section of the benchmark returns, and how docs/benchmarks.md shows them.

The page is written by hand but for the blocks between `<!-- NAME -->` and `<!-- /NAME -->`, which a measurement
replaces.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.processes import ROOT

DOCS = ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
PACKAGES = ("onnxruntime", "numpy", "pillow", "flask", "waitress", "tensorflow")
DOT_PRODUCTS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""Flags of CPUs that decide how fast int8 is. Source: Linux, /proc/cpuinfo."""


class UnavailableError(Exception):
    """The section can't be measured here, for example because it needs root or a cluster; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value with its required limit.

    Attributes:
        name: Quantity that was measured, and what it is divided by.
        value: Measured value.
        unit: Unit of the value; empty for a ratio.
        bar: Required limit of the value; None when there is none.
        is_minimum: Whether the value must be at least the bar; else it must be at most the bar.
        measured: Absolute values that the value comes from, as a text.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    is_minimum: bool = False
    measured: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the value, rounded as it is shown, meets the bar."""
        if self.bar is None:
            return True
        shown = float(format_number(self.value))
        return shown >= self.bar if self.is_minimum else shown <= self.bar

    def render_value(self) -> str:
        """Return the value with its unit, in bold when it misses the bar."""
        return bold(f"{format_number(self.value)} {self.unit}".rstrip(), when=not self.is_met)

    def render_bar(self) -> str:
        """Return the bar as a text, such as `at most 1.05`; empty when there is none."""
        if self.bar is None:
            return ""
        return f"{'at least' if self.is_minimum else 'at most'} {self.bar:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: the sentence above it, the headings, and the cells of each row."""

    title: str = ""
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def render(self) -> str:
        """Return the table as Markdown; columns of numbers are aligned to the right."""
        columns = list(zip(*self.rows, strict=True)) or [() for _ in self.heads]
        aligned = ["---:" if any(cells) and all(map(_is_number, cells)) else "---" for cells in columns]
        lines = [self.heads, aligned, *self.rows]
        text = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines)
        return f"{self.title}\n\n{text}" if self.title else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart of horizontal bars: its file's name, its title with the unit, and the values by name."""

    name: str
    title: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results: figures, tables with all values, charts, and sentences below the tables."""

    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()

    def render(self) -> str:
        """Return the section as Markdown: charts, figures, tables, notes."""
        lines = [f"![{one.title}](benchmark-{one.name}.svg)\n" for one in self.charts]
        rows = tuple((one.name, one.render_value(), one.render_bar(), one.measured) for one in self.figures)
        lines += [Table(heads=("", "measured", "bar", "beside"), rows=rows).render()] if rows else []
        return "\n".join(
            [*lines, *(table.render() for table in self.tables), *(f"{wrap(one)}\n" for one in self.notes)]
        )


def join_sections(sections: Mapping[str, Section]) -> Section:
    """Return the sections of several models as one, each figure, table and chart with its model's name."""
    return Section(
        figures=tuple(
            replace(one, name=f"{name}, {one.name}") for name, found in sections.items() for one in found.figures
        ),
        tables=tuple(
            replace(one, title=f"{name}: {one.title}" if one.title else f"{name}:")
            for name, found in sections.items()
            for one in found.tables
        ),
        charts=tuple(
            replace(one, name=f"{one.name}-{name.replace('_', '-')}", title=f"{name}: {one.title}")
            for name, found in sections.items()
            for one in found.charts
        ),
        notes=tuple(dict.fromkeys(note for found in sections.values() for note in found.notes)),
    )


def write_section(name: str, section: Section, stamp: str, docs: Path = DOCS) -> None:
    """Replace a section of docs/benchmarks.md, and its charts."""
    from bench.charts import draw_bars

    for chart in section.charts:
        draw_bars(docs / f"benchmark-{chart.name}.svg", chart.title, chart.values)
    replace_blocks(docs / PAGE.name, {name: f"\n{section.render()}\n{wrap(stamp)}\n"})


def replace_blocks(page: Path, blocks: Mapping[str, str]) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- /NAME -->` in a page, for each name that the page has."""
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        if found:
            text = f"{before}{start}{block}{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def describe_run(seconds: float, load: float) -> str:
    """Return the sentence below a section: when, where and with which versions it was measured.

    Args:
        seconds: Duration of the measurement.
        load: Load average of the last minute when it began.
    """
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return (
        f"Measured on {now} UTC at commit {commit} on {_describe_machine()}, in {seconds:.0f} s; the load average was"
        f" {load:.1f} when it began."
    )


def _describe_machine() -> str:
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    fields = {name.strip(): value.strip() for name, _, value in lines}
    words = (fields.get("flags") or fields.get("Features") or "").split()
    flags = " ".join(flag for flag in DOT_PRODUCTS if flag in words)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpu = ", ".join(part for part in (fields.get("model name", platform.machine()), flags) if part)
    kernel = ".".join(platform.release().split(".")[:2])
    versions = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{len(os.sched_getaffinity(0))} CPUs ({cpu}), {memory_gb:.0f} GB, Linux {kernel}, {', '.join(versions)}"


def format_number(value: float) -> str:
    """Return a value with two decimals, or without any from 100 upwards."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def bold(text: str, *, when: bool) -> str:
    """Return the text in bold Markdown if `when`, else the text itself."""
    return f"**{text}**" if when else text


def wrap(text: str) -> str:
    """Return the text in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _is_number(cell: str) -> bool:
    return not cell or re.fullmatch(r"\**[-+]?[\d.,]+( ?[a-zA-Z%/]+)?\**", cell) is not None
