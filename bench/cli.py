"""Benchmark of `eaves --help` against a minimal click program."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.measure.timing import paired_ms, print_table

FLOOR = "import click\n@click.group()\ndef main(): pass\nmain(['--help'])"


def main() -> None:
    """Run the benchmark and print its results."""
    eaves = str(Path(sys.executable).with_name("eaves"))
    ours, floor = paired_ms([eaves, "--help"], [sys.executable, "-c", FLOOR], runs=15)
    print_table("command line, whole process", [("eaves --help (floor: import click, print a help)", ours, floor)])
