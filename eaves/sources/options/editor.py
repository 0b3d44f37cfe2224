"""Application of a source's options to a frame, in the order: hours, rate, crop, unchanged, longest side, encoding.

The last frame that the options have kept is kept again when the source offers it again after a full queue, so `rate`
and `unchanged` never drop a frame that has to wait.

The rate is limited by capture times and not by arrival, so the files that a folder has collected in a night are reduced
in the same way as if they had come one by one. Times may be out of order or jump, because cameras' clocks are set by
hand and by time servers. Therefore a frame is kept when its time is at least an interval before or after that of the
last kept frame, which it then replaces. When frames are out of order, more of them may be kept, but at least one always
is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from eaves import media_type
from eaves.base.clock import SYSTEM, Clock
from eaves.errors import ImageError, ImageTooLargeError
from eaves.sources.frame import Cause, Dropped, Frame
from eaves.sources.options.settings import FrameOptions, OutsideImageError, parse_hours, parse_interval_ns

if TYPE_CHECKING:
    from eaves.sources.options.pixels import PixelEditor

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
        self._pixels = _build_pixel_editor(options)
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


def _build_pixel_editor(options: FrameOptions) -> PixelEditor | None:
    if not options.pixel_options:
        return None
    from eaves.sources.options.pixels import PixelEditor  # an agent whose sources have no such option needs no Pillow

    return PixelEditor(
        crop=options.crop,
        unchanged=options.unchanged,
        max_side=options.max_side,
        quality=options.jpeg_quality,
    )


def _cause(frame: Frame, error: ImageError) -> Cause:
    if isinstance(error, ImageTooLargeError):
        return "too_large"
    no_image = not media_type.is_readable(frame.data)
    return "unsupported" if no_image or isinstance(error, OutsideImageError) else "unreadable"
