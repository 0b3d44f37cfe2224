"""Measures the time of calls and of whole processes, and prints tables of the results."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence


def median_ms(
    action: Callable[[], object], *, runs: int, warmup: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the median time of a call, ms; with `clock=time.thread_time` it is the CPU time of this thread."""
    for _ in range(warmup):
        action()
    durations = []
    for _ in range(runs):
        start = clock()
        action()
        durations.append((clock() - start) * 1000)
    return statistics.median(durations)


def paired_ms(first: Sequence[str], second: Sequence[str], *, runs: int) -> tuple[float, float]:
    """Return the median elapsed times of two commands as whole processes, ms.

    The commands run alternately, so that drift of the machine affects both.
    """
    pairs = [(_once_ms(first), _once_ms(second)) for _ in range(runs + 1)][1:]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def find_median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the median of independent values, from their order alone; at most the whole range."""
    ordered, count, skipped = sorted(values), len(values), 0
    while 2 * sum(math.comb(count, number) for number in range(skipped + 2)) <= (1 - confidence) * 2**count:
        skipped += 1
    return ordered[skipped], ordered[-1 - skipped]


def print_table(title: str, rows: Sequence[tuple[str, float, float]]) -> None:
    """Print a table of measured times, each with the time of the minimal program (the floor) and their ratio.

    Each row has a name, the measured ms and the floor's ms.
    """
    print(f"\n{title}\n{'':48} {'ms':>9} {'floor ms':>9} {'ratio':>7}")
    for what, value, floor in rows:
        print(f"{what:48} {value:9.2f} {floor:9.2f} {value / floor:7.2f}")


def print_columns(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; `heads` are the headings of its columns.

    The first column and those whose heading ends with a colon are aligned to the left, all others to the right, as
    numbers.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    print(f"\n{title}")
    for row in (heads, *rows):
        cells = zip(row, widths, heads, strict=True)
        aligned = [cell.ljust(width) if head[-1:] in {"", ":"} else cell.rjust(width) for cell, width, head in cells]
        print("  ".join(aligned).rstrip(), flush=True)


def _once_ms(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000
