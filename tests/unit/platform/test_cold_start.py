"""The phases of a cold start, and what is made of several."""

from __future__ import annotations

import json

import pytest

from eaves.platform.cold_start import PHASES, STAGES, ColdStart, find_stages, place_stages, summarize

STARTED = ColdStart(
    ends_ms={"autoscaling": 50.0, "scheduling": 60.0, "image": 200.0, "session": 400.0, "golden": 390.0},
    total_ms=500.0,
    warm_ms=30.0,
)


def test_the_phases_add_up_to_the_whole_and_one_that_ended_before_costs_nothing() -> None:
    found = STARTED.durations_ms()
    assert found == {
        "autoscaling": 50.0, "scheduling": 10.0, "image": 140.0, "session": 200.0, "golden": 0.0, "answer": 100.0,
    }  # fmt: skip
    assert list(found) == [phase for phase in PHASES if phase in found]


def test_no_phase_ends_after_the_answer() -> None:
    found = ColdStart(ends_ms={"autoscaling": 50.0, "golden": 520.0}, total_ms=500.0, warm_ms=1.0).durations_ms()
    assert found == {"autoscaling": 50.0, "golden": 450.0, "answer": 0.0}


def test_a_summary_has_each_phase_once_then_the_whole_and_the_warm_request() -> None:
    others = [
        ColdStart(ends_ms={"autoscaling": end, "image": 300.0}, total_ms=400.0, warm_ms=20.0) for end in (90.0, 70.0)
    ]
    rows = {row.phase: (row.median_ms, row.min_ms, row.max_ms) for row in summarize([STARTED, *others])}
    assert rows["autoscaling"] == (70.0, 50.0, 90.0)
    assert rows["golden"] == (0.0, 0.0, 0.0), "two of three have no such phase"
    assert rows["total"] == (400.0, 400.0, 500.0)
    assert rows["warm"] == (20.0, 20.0, 30.0)
    assert list(rows)[-2:] == ["total", "warm"]


def test_the_stages_of_the_latest_start_are_found_among_other_lines() -> None:
    lines = [
        '{"start_ms": {"first prediction": 900}}',
        'no JSON, but has "start_ms" in it',
        '{"start_ms": ["no", "mapping"]}',
        json.dumps({"start_ms": {"interpreter": 12, "first prediction": 400.5}}),
        '{"message": "predicted"}',
    ]
    assert find_stages(lines) == {"interpreter": 12.0, "first prediction": 400.5}
    assert find_stages(["listening"]) is None


def test_a_process_is_placed_by_the_end_of_its_first_prediction() -> None:
    stages = {"interpreter": 10.0, "open session": 200.0, "first prediction": 300.0, "something new": 1.0}
    assert place_stages(stages, 1000.0) == {
        "launch": 700.0, "interpreter": 710.0, "session": 900.0, "prediction": 1000.0,
    }  # fmt: skip
    assert place_stages({"interpreter": 10.0}, 1000.0) == {}, "it has not predicted yet"


@pytest.mark.parametrize("phase", STAGES)
def test_every_stage_belongs_to_a_phase_that_is_shown(phase: str) -> None:
    assert phase in PHASES
