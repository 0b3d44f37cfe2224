"""Benchmark of `eaves --help`, compared with a minimal program that uses only click."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.measure.timing import paired_ms, print_table

FLOOR = "import click\n@click.group()\ndef main(): pass\nmain(['--help'])"


def main() -> None:
    """Measure `eaves --help` and a minimal click program as whole processes, and print both times with their ratio."""
    eaves = str(Path(sys.executable).with_name("eaves"))
    ours, floor = paired_ms([eaves, "--help"], [sys.executable, "-c", FLOOR], runs=15)
    print_table("command line, whole process", [("eaves --help (floor: import click, print a help)", ours, floor)])
