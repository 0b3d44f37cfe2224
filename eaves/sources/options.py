"""Options that every source has, the parsing of those that are texts, and their application to a frame.

The order is: hours, rate, crop, unchanged, longest side, encoding. The last frame that the options have kept is kept
again when the source offers it again after a full queue, so `rate` and `unchanged` never drop a frame that has to wait.

The rate is limited by capture times and not by arrival, so the files that a folder has collected in a night are reduced
in the same way as if they had come one by one. Times may be out of order or jump, because cameras' clocks are set by
hand and by time servers. Therefore a frame is kept when its time is at least an interval before or after that of the
last kept frame, which it then replaces.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from typing import TYPE_CHECKING, Generic, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eaves import media_type
from eaves.base.clock import SYSTEM, Clock
from eaves.config import setting
from eaves.errors import ImageError, ImageTooLargeError
from eaves.sources.context import Cause, Dropped, Frame

if TYPE_CHECKING:
    from eaves.sources.pixels import PixelEditor


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
    """Options that select and change frames. docs/sources.md gives their order."""

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


MAX_CAMERAS = 1_000
"""Maximum number of cameras whose last frame is remembered. A limit is needed because camera names come from topics or
folders, and other programs may create any number of these."""
V = TypeVar("V")


class RecentValues(Generic[V]):
    """A dictionary with at most `limit` values, which forgets the least recently used one.

    Args:
        limit: Maximum number of values; a further one replaces the value that was read or written longest ago.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """Return the value of a key; None when there is none, or it was forgotten."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        """Store a value under a key."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)


class Pacer:
    """Decides which frames the option `rate` keeps. Not thread-safe.

    Args:
        interval_ns: Minimum time between two frames of a camera, nanoseconds.
    """

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._turns: RecentValues[tuple[int, int]] = RecentValues(MAX_CAMERAS)

    def admit(self, camera: str, moment_ns: int) -> bool:
        """Return whether a frame is kept; the next one is then due an interval later.

        The interval begins at the time at which the kept frame was due, or at its capture time when it is late by an
        interval or more. So a camera whose frames come a little early and a little late still gets as many frames kept
        as the rate allows.

        Args:
            camera: Name of the camera.
            moment_ns: Capture time, nanoseconds since 1970.
        """
        last_ns, last_due_ns = self._turns.get(camera) or (moment_ns + 2 * self._interval_ns, 0)
        due_ns = moment_ns + self._interval_ns
        if last_ns - self._interval_ns < moment_ns:
            if moment_ns < last_due_ns:
                return False
            if moment_ns < last_due_ns + self._interval_ns:
                due_ns = last_due_ns + self._interval_ns
        self._turns.put(camera, (moment_ns, due_ns))
        return True


class FrameEditor:
    """Applies the options of one source. Safe to use from many threads.

    Args:
        options: Options of the source in eaves.yaml.
        clock: Clock for frames without a capture time.
    """

    def __init__(self, options: FrameOptions, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._hours = parse_hours(options.hours, options.time_zone)
        interval_ns = parse_interval_ns(options.rate)
        self._pacer = Pacer(interval_ns) if interval_ns else None
        self._pixels: PixelEditor | None = None
        if options.pixel_options:
            from eaves.sources.pixels import PixelEditor  # an agent whose sources have no such option needs no Pillow

            self._pixels = PixelEditor(options)
        self._selects = bool(self._hours or self._pacer or options.unchanged)
        self._last_position = ""
        self._lock = threading.Lock()

    def edit(self, frame: Frame) -> Frame | Dropped:
        """Return the edited frame, or why it is dropped.

        The changes are recorded in the frame's extension attributes: `crop` (left,top,width,height in pixels of the
        upright image), `scaledto` (widthxheight in pixels), `reencoded` (media type and quality).
        """
        again = self._selects and frame.position == self._last_position
        if not again and (cause := self._select(frame)):
            return Dropped(cause)
        edited: Frame | None = frame
        if self._pixels is not None:
            try:
                edited = self._pixels.edit(frame, compare=not again)
            except ImageError as error:
                return Dropped(_cause(frame, error), error.message)
        if edited is None:
            return Dropped("unchanged")
        self._last_position = frame.position
        return edited

    def _select(self, frame: Frame) -> Cause | None:
        """Return why the options `hours` or `rate` drop a frame because of its capture time; None when they keep it."""
        moment_ns = frame.captured_at_ns
        if moment_ns is None:
            moment_ns = int(self._clock.now() * 1e9)
        if self._hours is not None and not self._hours.contain(moment_ns):
            return "hours"
        with self._lock:
            if self._pacer is not None and not self._pacer.admit(frame.camera, moment_ns):
                return "rate"
        return None


def _cause(frame: Frame, error: ImageError) -> Cause:
    if isinstance(error, ImageTooLargeError):
        return "too_large"
    no_image = not media_type.is_readable(frame.data)
    return "unsupported" if no_image or isinstance(error, OutsideImageError) else "unreadable"
