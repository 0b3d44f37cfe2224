"""What the experiment's records come to is computed as its page says."""

from __future__ import annotations

import math

import pytest

from bench.link.processes import plan_kills
from bench.link.summary import (
    Image,
    compare_states,
    find_outages,
    summarise,
)


def image(number: int, predicted_s: float | None, state: str = "up") -> Image:
    return Image(name=f"{number}.jpg", at_s=number, size_bytes=1000, state=state, predicted_s=predicted_s)


def record(predicted_s: float | None) -> dict[str, object]:
    return {"name": "a", "at_s": 0.0, "size_bytes": 1, "state": "up", "predicted_s": predicted_s, "in_cloud_s": None}


def test_a_photo_without_a_prediction_counts_as_infinitely_late() -> None:
    arm = {
        "images": [record(0.5), record(1.0), record(2.0), record(None)],
        "lost": 1,
        "repeated": 3,
        "bytes_up": 6000,
        "bytes_down": 2000,
        "drain_s": None,
    }
    row = summarise(arm)
    assert (row.images, row.lost, row.repeated) == (4, 1, 3)
    assert (row.p50_s, row.p99_s) == (1.0, math.inf)
    assert row.within == 0.5
    assert row.bytes_per_1000 == 2_000_000


def test_the_ratio_of_medians_has_an_interval_that_holds_it() -> None:
    up = [image(number, 0.1 + 0.001 * (number % 10)) for number in range(200)]
    away = [image(number, 0.2 + 0.002 * (number % 10), "down") for number in range(200)]
    found = compare_states([*up, *away])
    assert found is not None
    assert found.ratio == pytest.approx(2.0, rel=0.02)
    assert found.low <= found.ratio <= found.high
    assert (found.up, found.away) == (200, 200)


def test_runs_of_a_length_have_as_many_kills_of_each_role_whatever_the_seed() -> None:
    roles = ("relay", "agent", "function", "receiver")
    plans = [plan_kills(roles, seconds=180, mean_s=30, seed=seed) for seed in range(20)]
    for plan in plans:
        moments = [at for at, _ in plan]
        assert moments == sorted(moments)
        assert 0 <= moments[0] < moments[-1] < 180
        assert sorted(role for _, role in plan) == sorted(2 * roles)
    assert len({tuple(plan) for plan in plans}) == 20


def test_a_kill_costs_the_time_to_the_next_prediction_and_the_photos_that_were_late() -> None:
    images = [image(number, 0.4) for number in range(20)]
    for late in (image(5, 3.5), image(6, 2.75), image(7, 1.75), image(8, 0.9)):
        images[int(late.at_s)] = late
    found = find_outages(images, [(2.75, "receiver"), (5.25, "function"), (18.0, "relay")])
    assert [(one.role, one.late) for one in found] == [("receiver", 0), ("function", 3), ("relay", 0)]
    assert [one.back_s for one in found] == pytest.approx([0.65, 3.25, 0.4])
