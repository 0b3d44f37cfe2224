"""The phases of a cold start."""

from __future__ import annotations

import json

from bench.cold_start import find_stages, split_phases

STAGES = {"interpreter": 10.0, "open session": 200.0, "golden check": 190.0, "first prediction": 300.0, "new": 1.0}


def test_the_phases_add_up_to_the_whole_and_one_that_ended_before_costs_nothing() -> None:
    assert split_phases(STAGES, 1000.0, 20.0) == {
        "launch": 680.0, "interpreter": 10.0, "session": 190.0, "golden": 0.0, "prediction": 100.0, "answer": 20.0,
    }  # fmt: skip
    assert split_phases({"interpreter": 10.0}, 1000.0, 20.0) == {}, "it has not predicted yet"


def test_the_stages_of_the_latest_start_are_found_among_other_lines() -> None:
    lines = [
        '{"start_ms": {"first prediction": 900}}',
        'no JSON, but has "start_ms" in it',
        '{"start_ms": ["no", "mapping"]}',
        json.dumps({"start_ms": {"interpreter": 12, "first prediction": 400.5}}),
        '{"message": "predicted"}',
    ]
    assert find_stages(lines) == {"interpreter": 12.0, "first prediction": 400.5}
    assert find_stages(["listening"]) == {}
