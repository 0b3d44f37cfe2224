"""What a source will send: its rate, the options that lower it, and the hours of the day."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from eaves.sources.options import FrameOptions
from eaves.sources.trial.findings import StreamFacts
from eaves.sources.trial.load import estimate_load, find_stream_interval, is_within_hours, measure_interval

NOON = 1_790_000_000.0 - 1_790_000_000 % 86_400 + 43_200


@dataclass(frozen=True)
class Settings:
    every_s: float = 0.0


def build_stream(decoding: str, *, rate: float = 25.0, key_interval_s: float = 1.987) -> StreamFacts:
    return StreamFacts(
        codec="h264",
        width=640,
        height=360,
        rate=rate,
        decoding=decoding,
        key_interval_s=key_interval_s,
        opened_s=0.1,
    )


@pytest.mark.parametrize(
    ("settings", "options", "found_s", "interval_s"),
    [
        (Settings(), FrameOptions(), 2.0, 2.0),
        (Settings(every_s=5), FrameOptions(), 0.0, 5.0),
        (Settings(every_s=5), FrameOptions(), 8.0, 8.0),
        (Settings(every_s=5), FrameOptions(rate="1/min"), 8.0, 60.0),
        (object(), FrameOptions(rate="1/min"), 1.0, 60.0),
    ],
)
def test_the_slowest_counts(settings: object, options: FrameOptions, found_s: float, interval_s: float) -> None:
    load = estimate_load(settings, options, found_s=found_s, size_bytes=1_000, now=NOON)
    assert load is not None
    assert load.interval_s == interval_s
    assert load.images_per_hour == 3_600 / interval_s
    assert load.bytes_per_day == 86_400_000 / interval_s


def test_nothing_is_guessed() -> None:
    assert estimate_load(object(), FrameOptions(rate="1/s"), found_s=0.0, size_bytes=1, now=NOON) is None


def test_hours_are_a_share_of_the_day() -> None:
    options = FrameOptions(hours=("22:00-06:00", "05:00-07:00"), time_zone="Etc/UTC")
    load = estimate_load(Settings(every_s=10), options, found_s=0.0, size_bytes=1, now=NOON)
    assert load is not None
    assert load.bytes_per_day == 9 * 360
    assert not is_within_hours(options, NOON)
    assert is_within_hours(options, NOON + 11 * 3_600)


def test_a_measured_time_has_the_digits_that_are_shown() -> None:
    assert measure_interval([0.5]) == 0.0
    assert measure_interval([0.5, 1.487]) == 1.0
    assert measure_interval([0.5, 0.5414]) == pytest.approx(0.041)
    assert measure_interval([0.0, 1.0, 4.0]) == 2.0


@pytest.mark.parametrize(
    ("stream", "interval_s"),
    [
        (build_stream("key"), 2.0),
        (build_stream("all"), 0.04),
        (build_stream("none", rate=0.0), 0.0),
    ],
)
def test_a_stream_passes_on_what_its_decoding_gives(stream: StreamFacts, interval_s: float) -> None:
    assert find_stream_interval(stream) == interval_s
