"""Prints the results of the local platform's benchmark, and writes them to docs/local-benchmark.md.

A promise is a stated speed or cost; each has its required limit (bar), the measured value, and a minimum from the same
run to compare with (floor).
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.function.process import ROOT
from eaves.base.files import write_atomically

PAGE = ROOT / "docs/local-benchmark.md"
RESULTS = ROOT / "build/local-benchmark"
"""Directory with the latest results of each part of the benchmark, so that parts can be measured separately."""
HEAD = """\
# The local platform, measured

This page has the speed and the cost of the local platform, for readers who choose hardware. `{command}` measured
it on {date}, on {cpus} CPUs ({cpu}), Python {python}, SQLite {sqlite}. The broker, the activator, the queue and the
disk are the real ones; the function answers 202 at once. Sender, platform and function share the CPUs with other
programs: `load` is the load average when the part ended. Figures that miss their bar are **bold**. Floors are measured
in the same run: a direct POST to the function in turn with the others, and writing as many bytes to a file of the same
disk with a sync.

| promise | bar | measured | measured against | load |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the results: a promised speed or cost, and its measurement.

    Attributes:
        promise: What was measured, as a text.
        bar: Required limit of the value; empty when there is none.
        measured: Measured value with its unit.
        against: Value to compare with, from the same run, and the ratio to it.
        is_kept: Whether the measured value meets the required limit.
        load: The machine's load average of the last minute.
    """

    promise: str
    bar: str
    measured: str
    against: str
    is_kept: bool
    load: float

    def row(self) -> str:
        """Return this result as a row of the Markdown table; a value that misses its limit is bold."""
        measured = self.measured if self.is_kept else f"**{self.measured}**"
        return f"| {self.promise} | {self.bar} | {measured} | {self.against} | {self.load:.1f} |"


def read_load() -> float:
    """Return the machine's load average of the last minute."""
    return os.getloadavg()[0]


def print_figures(figures: Iterable[Figure]) -> None:
    """Print each result as soon as it is available."""
    for one in figures:
        mark = "" if one.is_kept else "  MISSED"
        print(f"{one.promise:62} {one.measured:>26}  (bar: {one.bar or 'none'}){mark}")
        print(f"{'':62} {one.against}; load {one.load:.1f}", flush=True)


def keep(part: str, figures: Sequence[Figure]) -> None:
    """Store the results of one part of the benchmark in a file, from which the page is written."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_atomically(RESULTS / f"{part}.json", json.dumps([asdict(one) for one in figures]))


def write_page(parts: Sequence[str], command: str) -> Path:
    """Write docs/local-benchmark.md from the latest results of the given parts, and return its path.

    `command` is the command that the page names as the one that measured them.
    """
    files = [RESULTS / f"{part}.json" for part in parts]
    figures = [Figure(**one) for path in files if path.exists() for one in json.loads(path.read_text())]
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    head = HEAD.format(
        command=command,
        date=time.strftime("%Y-%m-%d"),
        cpus=len(os.sched_getaffinity(0)),
        cpu=next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
    )
    PAGE.write_text(head + "".join(f"{one.row()}\n" for one in figures), encoding="utf-8")
    return PAGE
