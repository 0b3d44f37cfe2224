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
        "Maximum average number of frames per camera and time, by their capture times, such as "
        "`2/s`, `30/min` or `1/10s`. The default, empty, keeps all frames.",
    )
    unchanged: float = setting(
        0.0,
        "Minimum difference between a frame and the last frame that was kept from the same "
        "camera; a frame that differs less is dropped. The difference is the mean absolute "
        "difference of 32x32 grey images, in grey levels from 0 to 255. 0 keeps all frames. 1 "
        "suits most cameras: a camera's noise gives 0.1 to 0.4, an object that covers a "
        "fiftieth of the image about 1.",
        minimum=0,
        maximum=255,
    )
    crop: tuple[float, ...] = setting(
        (),
        "Part of the upright image that is kept: left, top, width, height, in pixels, or all "
        "four as shares from 0 to 1. The default is the whole image.",
    )
    max_side: int = setting(
        0,
        "Maximum length of an image's longer side in pixels; larger images are scaled down. "
        "The default, 0, keeps the size.",
        minimum=0,
        maximum=65_535,
    )
    jpeg_quality: int = setting(
        0,
        "JPEG quality, 1 to 95, with which every image is encoded again. With 0, only images "
        "that `crop` or `max_side` change are encoded again, with quality 90.",
        minimum=0,
        maximum=95,
    )
    hours: tuple[str, ...] = setting(
        (),
        "Hours of capture, such as `22:00-06:00`; frames captured outside them are "
        "dropped. The default, empty, captures all day.",
    )
    time_zone: str = setting(
        "",
        "Time zone of `hours`, such as `Europe/Berlin`. The default, empty, is the machine's "
        "time zone, which is UTC in most container images.",
    )

    @property
    def pixel_options(self) -> tuple[str, ...]:
        """Names of the options that are set and need an image's pixels."""
        return tuple(name for name in ("crop", "unchanged", "max_side", "jpeg_quality") if getattr(self, name))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
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
