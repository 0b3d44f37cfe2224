"""Options that every source has, and the parsing of those that are texts: hours, rate and region."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eaves.config import setting
from eaves.errors import ImageError

_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Spans of the day during which frames are captured.

    Attributes:
        spans: Begin (included) and end (excluded) of each span; an end before the begin is on the next day.
        zone: Time zone of the spans; None for the machine's.
    """

    spans: tuple[tuple[time, time], ...]
    zone: tzinfo | None = None

    def contain(self, moment_ns: int) -> bool:
        """Return whether a time, nanoseconds since 1970, is within one of the spans.

        False for a time that has no valid date.
        """
        try:
            clock = datetime.fromtimestamp(moment_ns / 1e9, UTC).astimezone(self.zone).time()
        except (ValueError, OverflowError, OSError):
            return False
        return any(begin <= clock < end if begin < end else clock >= begin or clock < end for begin, end in self.spans)


def parse_hours(texts: Sequence[str], zone: str = "") -> Hours | None:
    """Parse hours such as `22:00-06:00`; None when none are given.

    Args:
        texts: Texts of the spans.
        zone: Name of a time zone in the IANA database; empty for the machine's.

    Raises:
        ValueError: When a text is malformed, or the machine doesn't know the time zone.
    """
    found = None
    if zone:
        try:
            found = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"must be a time zone that this machine knows, such as Europe/Berlin (got {zone!r})"
            ) from error
    spans = tuple(_parse_span(text) for text in texts)
    return Hours(spans=spans, zone=found) if spans else None


def _parse_span(text: str) -> tuple[time, time]:
    match = _SPAN.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        hour, minute, end_hour, end_minute = map(int, match.groups())
        begin = time(hour, minute)
        end = time(0) if (end_hour, end_minute) == (24, 0) else time(end_hour, end_minute)
    except ValueError:
        raise ValueError(f"must be hours such as 22:00-06:00 (got {text[:40]!r})") from None
    if begin == end != time(0):
        raise ValueError(f"must begin and end at different times (got {text[:40]!r})")
    return begin, end


_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|min|h|d)\s*")
_UNITS_S = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


def parse_interval_ns(rate: str) -> int:
    """Return the nanoseconds between two frames at a rate such as `2/s`, `30/min` or `1/10s`; 0 for an empty text.

    Raises:
        ValueError: When the text is malformed, faster than 1,000 frames a second, or slower than one in a year.
    """
    if not rate.strip():
        return 0
    match = _RATE.fullmatch(rate)
    frames = float(match[1]) if match else 0.0
    if match is None or not frames:
        raise ValueError(f"must be a number of frames per time, such as 2/s, 30/min or 1/10s (got {rate[:40]!r})")
    interval_s = float(match[2] or 1) * _UNITS_S[match[3]] / frames
    if not 0.001 <= interval_s <= 366 * 86_400:
        raise ValueError(f"must be between 1000/s and 1/366d (got {rate[:40]!r})")
    return round(interval_s * 1e9)


Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a rectangle in pixels; right and bottom are just outside the rectangle."""


class OutsideImageError(ImageError):
    """Error of an image that is too small to contain its region."""


def find_box(numbers: Sequence[float], size: tuple[int, int]) -> Box:
    """Return the rectangle in pixels that is kept of an upright image, with the origin at its top left.

    Source: IIIF Image API 3.0, section 4.1, which gives regions as left, top, width, height as well.

    Args:
        numbers: Left, top, width and height, all four in pixels or as shares of 0 to 1; see `find_crop_fault`.
        size: Width and height of the image, pixels.

    Raises:
        OutsideImageError: When the rectangle reaches beyond the image. It was measured in larger images then, and
            would show another part of the scene in this one.
    """
    left, top, width, height = numbers
    shares = max(numbers) <= 1
    across, down = size if shares else (1, 1)
    right, bottom = round((left + width) * across), round((top + height) * down)
    left, top = round(left * across), round(top * down)
    if shares:
        left, top = min(left, across - 1), min(top, down - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if right > size[0] or bottom > size[1]:
        raise OutsideImageError(
            f"crop extends to {right},{bottom}, beyond the image of {size[0]}x{size[1]} pixels",
            hint="give crop as shares of the image, or correct the pixels",
        )
    return left, top, right, bottom


def find_crop_fault(numbers: Sequence[float]) -> str:
    """Return why four numbers, which are shares when none is above 1, are no rectangle; empty when they are one."""
    given = ",".join(f"{number:g}" for number in numbers)
    if len(numbers) != 4:
        return f"must be left, top, width, height (got {given})"
    left, top, width, height = numbers
    shares = max(numbers) <= 1
    if min(left, top) < 0 or min(width, height) <= 0:
        return f"must lie within the image, with a width and a height above 0 (got {given})"
    if shares and max(left + width, top + height) > 1 + 1e-9:
        return f"must lie within the image: left + width and top + height must be <= 1 (got {given})"
    if not shares and any(number != int(number) for number in numbers):
        return f"must be whole pixels, or shares of at most 1 (got {given})"
    return ""


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

    def selection_digest(self) -> bytes:
        """Return a digest of the options that leave frames out, 8 bytes."""
        chosen = (self.rate, self.unchanged, self.hours, self.time_zone)
        return hashlib.sha256(repr(chosen).encode()).digest()[:8]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        checks: tuple[tuple[str, Callable[[], object]], ...] = (
            ("rate", lambda: parse_interval_ns(self.rate)),
            ("hours", lambda: parse_hours(self.hours)),
            ("time_zone", lambda: parse_hours((), self.time_zone)),
        )
        for path, check in checks:
            try:
                check()
            except ValueError as error:
                yield path, str(error)
        if self.crop and (fault := find_crop_fault(self.crop)):
            yield "crop", fault
        if 0 < self.max_side < MIN_SIDE:
            yield "max_side", f"must be 0 or >= {MIN_SIDE} (got {self.max_side})"
