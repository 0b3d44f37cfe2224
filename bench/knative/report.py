"""Prints medians of cold starts phase by phase, and compares each function with the floor."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.knative.services import FLOOR
from bench.measure.timing import print_columns
from bench.sections import KNATIVE_BAR_S
from eaves.platform.cold_start import ColdStart, summarize

BAR_MS = 1000 * KNATIVE_BAR_S


def print_start(name: str, start: ColdStart) -> None:
    """Print one cold start with its phases, so that an interrupted run leaves figures."""
    phases = ", ".join(f"{phase} {value:.0f}" for phase, value in start.durations_ms().items())
    pulled = ", pulled" if start.pulled else ""
    print(f"{name:8} {start.total_ms:7.0f} ms (warm {start.warm_ms:.0f}{pulled}): {phases}", flush=True)


def print_phases(found: Mapping[str, Sequence[ColdStart]]) -> None:
    """Print a column of medians for each function, and below it the range of the whole."""
    summaries = {name: {row.phase: row for row in summarize(starts)} for name, starts in found.items()}
    phases = list(dict.fromkeys(phase for rows in summaries.values() for phase in rows))
    ends = [phase for phase in ("answer", "total", "warm") if phase in phases]
    order = [phase for phase in phases if phase not in ends] + ends
    rows = [
        [phase, *(f"{rows[phase].median_ms:.0f}" if phase in rows else "" for rows in summaries.values())]
        for phase in order
    ]
    ranges = [f"{rows['total'].min_ms:.0f}-{rows['total'].max_ms:.0f}" for rows in summaries.values()]
    rounds = len(next(iter(found.values())))
    title = f"cold starts through Knative, medians of {rounds} rounds in turn, ms"
    print_columns(title, ["phase", *summaries], [*rows, ["range of total", *ranges]])


def print_bars(found: Mapping[str, Sequence[ColdStart]]) -> None:
    """Print how far each function is above the floor, beside its bar, if there is a floor."""
    if FLOOR not in found:
        print("no floor: --floor-image IMAGE names the container image of a server that does almost nothing")
        return
    floor_ms = statistics.median(start.total_ms for start in found[FLOOR])
    rows = []
    for name, starts in found.items():
        if name == FLOOR:
            continue
        above_ms = statistics.median(start.total_ms for start in starts) - floor_ms
        rows.append([name, f"{above_ms:.0f}", f"{BAR_MS:.0f}", "kept" if above_ms <= BAR_MS else "**missed**"])
    heads = ["function", "above the floor", "bar", "verdict:"]
    print_columns("above the floor, ms", heads, rows)
