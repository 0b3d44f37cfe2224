"""Estimate of what a source sends: images an hour, and bytes a day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eaves.sources.options import FrameOptions
from eaves.sources.options.settings import parse_hours, parse_interval_ns
from eaves.sources.trial.findings import Load, StreamFacts

HOUR_S = 3_600
DAY_S = 86_400
_MINUTE_S = 60


def measure_interval(arrivals: Sequence[float]) -> float:
    """Return the mean time between images in seconds, rounded; 0 when there were fewer than two.

    Args:
        arrivals: Times at which images came, seconds.
    """
    if len(arrivals) < 2:
        return 0.0
    return _round((arrivals[-1] - arrivals[0]) / (len(arrivals) - 1))


def find_stream_interval(stream: StreamFacts) -> float:
    """Return the time between two frames that the decoder of a camera could pass on, seconds; 0 when it isn't known."""
    if stream.decoding == "key":
        return _round(stream.key_interval_s)
    return 1 / stream.rate if stream.rate else 0.0


def _round(seconds: float) -> float:
    """Return a measured time with the digits that are shown: tenths of a second, or two digits of a short time."""
    return round(seconds, 1) if seconds >= 0.95 else float(f"{seconds:.2g}")


def estimate_load(settings: Any, options: FrameOptions, *, found_s: float, size_bytes: int, now: float) -> Load | None:
    """Return what a source will send at most; None when nothing is known about its rate, as for a folder.

    The interval between two images is the one that was found, but at least the setting `every_s` of the kind, if it has
    one, and that of the option `rate`.

    Args:
        settings: Settings of the kind.
        options: Options of the source.
        found_s: Time between two images that the trial has found, seconds; 0 when it isn't known.
        size_bytes: Size of an image, bytes.
        now: Current time, Unix seconds.
    """
    every_s = 0.0 if hasattr(settings, "bucket") else getattr(settings, "every_s", 0.0)  # a bucket's is of its listing
    interval_s = max(found_s, every_s if isinstance(every_s, int | float) else 0.0)
    if not interval_s:
        return None
    interval_s = max(interval_s, parse_interval_ns(options.rate) / 1e9)
    share = find_day_share(options, now)
    return Load(
        interval_s=interval_s,
        images_per_hour=HOUR_S / interval_s,
        bytes_per_day=DAY_S * share / interval_s * size_bytes,
    )


def is_within_hours(options: FrameOptions, now: float) -> bool:
    """Return whether the option `hours` allows captures at a time, Unix seconds."""
    hours = parse_hours(options.hours, options.time_zone)
    return hours is None or hours.contain(int(now * 1e9))


def find_day_share(options: FrameOptions, now: float) -> float:
    """Return the share of the day in which the option `hours` allows captures, 0 to 1, to the minute."""
    hours = parse_hours(options.hours, options.time_zone)
    if hours is None:
        return 1.0
    begin = now - now % _MINUTE_S
    minutes = [begin + number * _MINUTE_S for number in range(DAY_S // _MINUTE_S)]
    return sum(hours.contain(int(moment * 1e9)) for moment in minutes) / len(minutes)
