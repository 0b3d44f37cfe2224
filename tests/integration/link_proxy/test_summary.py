"""What the experiment's records come to is computed as its page says."""

from __future__ import annotations

import math

import pytest

from bench.link.conditions import CONDITIONS, find
from bench.link.crossover import OVERHEAD, break_even_s, transfer_s
from bench.link.summary import Image, compare_states, load_images, percentile, summarise


def image(number: int, predicted_s: float | None, state: str = "up") -> Image:
    return Image(name=f"{number}.jpg", at_s=number, size_bytes=1000, state=state, predicted_s=predicted_s)


def record(predicted_s: float | None) -> dict[str, object]:
    return {"name": "a", "at_s": 0.0, "size_bytes": 1, "state": "up", "predicted_s": predicted_s, "in_cloud_s": None}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.5))


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


def test_a_link_that_was_always_up_has_no_ratio() -> None:
    assert compare_states([image(1, 0.1)]) is None


def test_images_are_read_as_they_were_written() -> None:
    assert load_images([record(0.25)])[0].predicted_s == 0.25


def test_a_course_is_repeated_until_the_run_ends() -> None:
    (flapping,) = find("flapping")
    assert flapping.phases(60) == [(0.0, "up"), (10.0, "down"), (30.0, "up"), (40.0, "down")]


def test_the_middle_third_is_down() -> None:
    (down,) = find("down")
    assert down.phases(1800) == [(0.0, "up"), (600.0, "down"), (1200.0, "up")]


def test_no_names_are_all_links_and_an_unknown_one_is_refused() -> None:
    assert find("") == list(CONDITIONS)
    with pytest.raises(ValueError, match="no link 'fast'; there are good"):
        find("good,fast")


def test_a_small_image_takes_a_round_trip_and_its_bytes() -> None:
    assert transfer_s(10_000, 8, 0.1) == pytest.approx(0.1 + 0.01 * OVERHEAD)


def test_slow_start_costs_a_round_trip_for_each_doubling_until_the_link_is_busy() -> None:
    quick = transfer_s(110_000, 1e6, 0.1)  # 10, 20 and 40 segments, and the rest: four round trips
    assert quick == pytest.approx(0.4, abs=0.01)
    busy = transfer_s(1_000_000, 1, 0.1)  # 14,480 bytes take longer than a round trip: the link is never idle
    assert busy == pytest.approx(8 * OVERHEAD + 0.1, rel=0.01)


def test_an_edge_breaks_even_at_what_the_cloud_takes_with_the_way_there() -> None:
    assert break_even_s(10_000, 8, 0.1, 0.05) == pytest.approx(0.05 + transfer_s(10_000, 8, 0.1))
