"""Cold starts as bars and medians."""

from __future__ import annotations

import math

import pytest

from eaves.console.backend import ReplicaStart
from eaves.console.model.functions.cold_starts import KEEP, OTHER, SCALE, ColdStarts, build_cold_starts


def start(total_ms: float, *, at: float = 0.0, function: str = "flowers", **phases_ms: float) -> ReplicaStart:
    return ReplicaStart(function=function, at=at, total_ms=total_ms, phases_ms=phases_ms, method="fork")


def test_a_bar_has_the_phases_in_the_order_of_time_and_the_rest() -> None:
    found = build_cold_starts([start(200, session=80, imports=60), start(400, session=400)], "flowers")
    newest, oldest = found.bars
    assert [(one.phase, one.x, one.width) for one in oldest.segments] == [
        ("imports", 0.0, 150.0), ("session", 150.0, 200.0), (OTHER, 350.0, 150.0),
    ]  # fmt: skip
    assert [(one.phase, one.width) for one in newest.segments] == [("session", SCALE)]
    assert newest.method == "copied from a process with the libraries loaded"
    assert newest.segments[0].colour == oldest.segments[1].colour


def test_the_table_has_the_median_of_each_phase_and_of_the_whole_start() -> None:
    found = build_cold_starts([start(10, session=10), start(30, session=30), start(20, session=20)], "flowers")
    assert [(row.phase, row.median_ms, row.min_ms, row.max_ms) for row in found.phases] == [
        ("session", 20, 10, 30), ("total", 20, 10, 30),
    ]  # fmt: skip
    assert found.phases[0].meaning == "the model is read into memory"


def test_only_the_newest_starts_of_this_function_are_shown() -> None:
    starts = [start(100 + number, at=number) for number in range(30)] + [start(9, function="other", at=99)]
    found = build_cold_starts(starts, "flowers")
    assert [bar.at for bar in found.bars] == list(range(29, 29 - KEEP, -1))
    assert found.phases[-1].median_ms == 100 + 19.5
    assert build_cold_starts(starts, "nobody") == ColdStarts()


def test_starts_without_phases_count_for_the_total_only() -> None:
    found = build_cold_starts([start(100), start(50, session=40)], "flowers")
    assert found.without_phases == 1
    assert {row.phase: row.median_ms for row in found.phases} == {"session": 40, OTHER: 10, "total": 75}
    assert [one.phase for one in found.bars[1].segments] == [OTHER]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_impossible_times_are_left_out(bad: float) -> None:
    found = build_cold_starts([start(bad, session=1), start(100, session=bad, imports=100)], "flowers")
    (bar,) = found.bars
    assert [(one.phase, one.x, one.width) for one in bar.segments] == [("imports", 0.0, SCALE)]


def test_phases_of_another_version_follow_the_known_ones() -> None:
    found = build_cold_starts([start(100, zeta=10, imports=10, alpha=10)], "flowers")
    assert [row.phase for row in found.phases] == ["imports", "alpha", "zeta", OTHER, "total"]
