"""What the experiment's records come to is computed as its page says."""

import math

import pytest

from bench.link.summary import (
    Image,
    compare_states,
    summarise,
)


def image(number: int, predicted_s: float | None, state: str = "up") -> Image:
    return Image(name=f"{number}.jpg", at_s=number, size_bytes=1000, state=state, predicted_s=predicted_s)


def record(predicted_s: float | None) -> dict[str, object]:
    return {"name": "a", "at_s": 0.0, "size_bytes": 1, "state": "up", "predicted_s": predicted_s, "in_cloud_s": None}


def test_a_photo_without_a_prediction_counts_as_infinitely_late():
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


def test_the_ratio_of_medians_has_an_interval_that_holds_it():
    up = [image(number, 0.1 + 0.001 * (number % 10)) for number in range(200)]
    away = [image(number, 0.2 + 0.002 * (number % 10), "down") for number in range(200)]
    found = compare_states([*up, *away])
    assert found is not None
    assert found.ratio == pytest.approx(2.0, rel=0.02)
    assert found.low <= found.ratio <= found.high
    assert (found.up, found.away) == (200, 200)
