"""Options that every source has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eaves.config import setting
from eaves.sources.options.hours import parse_hours
from eaves.sources.options.rate import parse_interval_ns
from eaves.sources.options.region import parse_region

MIN_SIDE = 16
"""Minimum of `max_side`, pixels; smaller images are useless to a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    """Options that select and change frames. docs/06-sources.md gives their order."""

    rate: str = setting(
        "",
        "So many frames of a camera in a time on average, by their capture times: such as `2/s`, `30/min` or `1/10s`; "
        "empty: all.",
    )
    unchanged: float = setting(
        0.0,
        "Frames are dropped that differ less than this from the last frame that was kept of the same camera: mean "
        "absolute difference of 32x32 grey pictures, in grey levels of 0 to 255. 0 keeps all. 1 suits most cameras: "
        "the noise of a camera makes 0.1 to 0.4, an object of a fiftieth of the picture about 1.",
        minimum=0,
        maximum=255,
    )
    crop: tuple[float, ...] = setting(
        (),
        "The part of the upright image that is kept: left, top, width, height, in pixels, or all four in shares of 0 "
        "to 1. Without it, the whole image.",
    )
    max_side: int = setting(
        0,
        "Longest side of an image in pixels; larger ones are made smaller. 0: as they are.",
        minimum=0,
        maximum=65_535,
    )
    jpeg_quality: int = setting(
        0,
        "Quality, 1 to 95, at which every image is encoded anew as JPEG. 0: only images that `crop` or `max_side` "
        "change are, with 90.",
        minimum=0,
        maximum=95,
    )
    hours: tuple[str, ...] = setting(
        (), "Hours of capture, such as `22:00-06:00`; frames that were captured at others are dropped. Empty: all day."
    )
    time_zone: str = setting(
        "",
        "Time zone of `hours`, such as `Europe/Berlin`; empty: the machine's own, which is UTC in most container "
        "images.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Check rules that involve several fields."""
        checks: tuple[tuple[str, Callable[[], object]], ...] = (
            ("rate", lambda: parse_interval_ns(self.rate)),
            ("crop", lambda: parse_region(self.crop)),
            ("hours", lambda: parse_hours(self.hours)),
            ("time_zone", lambda: parse_hours((), self.time_zone)),
        )
        for path, check in checks:
            try:
                check()
            except ValueError as error:
                yield path, str(error)
        if 0 < self.max_side < MIN_SIDE:
            yield "max_side", f"must be 0 or >= {MIN_SIDE} (got {self.max_side})"
