"""Values as tables write them."""

from __future__ import annotations

import time

import pytest

from eaves.cli.display.cell_text import (
    describe_bytes,
    describe_milliseconds,
    describe_moment,
    describe_seconds,
    shorten_id,
)

NOON = time.mktime((2026, 11, 26, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "0 s ago"),
        (NOON + 3, "0 s ago"),
        (NOON - 12, "12 s ago"),
        (NOON - 59.9, "59 s ago"),
        (NOON - 200, "3 min ago"),
        (NOON - 3_599, "59 min ago"),
        (NOON - 3_600, "today 11:00"),
        (NOON - 22 * 3_600, "yesterday 14:00"),
        (time.mktime((2026, 11, 1, 9, 5, 0, 0, 0, -1)), f"1 {time.strftime('%b', time.localtime(NOON))} 09:05"),
        (time.mktime((2025, 11, 27, 9, 5, 0, 0, 0, -1)), "2025-11-27 09:05"),
        (NOON + 3_600, "2026-11-26 13:00"),
    ],
)
def test_a_moment_is_written_as_people_say_it(at: float, text: str) -> None:
    assert describe_moment(at, NOON) == text


def test_the_day_before_the_first_of_a_year_is_yesterday() -> None:
    first = time.mktime((2026, 1, 1, 8, 0, 0, 0, 0, -1))
    assert describe_moment(first - 12 * 3_600, first) == "yesterday 20:00"


def test_durations_and_sizes_have_units() -> None:
    assert [describe_milliseconds(value) for value in (4.23, 9.96, 643.3, 999.7, 1_320, 59_960, 150_000)] == [
        "4.2 ms", "10 ms", "643 ms", "1.0 s", "1.3 s", "1 min", "2 min",
    ]  # fmt: skip
    assert [describe_seconds(value) for value in (0.04, 12.34, 59.96, 4_000)] == ["0.0 s", "12.3 s", "1 min", "1 h"]
    assert [describe_bytes(value) for value in (0, 999, 20_480, 1_200_000_000)] == ["0 B", "999 B", "20.5 kB", "1.2 GB"]


@pytest.mark.parametrize(
    ("whole", "short"),
    [
        ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", "0f1e2d3c"),
        ("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "0f1e2d3c"),
        ("sha256:" + "ab" * 32, "sha256:abababab"),
        ("order-17", "order-17"),
        ("deadbeef", "deadbeef"),
        ("", ""),
    ],
)
def test_only_long_random_ids_become_shorter(whole: str, short: str) -> None:
    assert shorten_id(whole) == short
