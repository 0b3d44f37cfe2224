"""Limit on the average rate of each camera's frames, by their capture times.

The times are those of the capture and not of the arrival, so the files that a folder has collected in a night are
reduced in the same way as if they had come one by one. Times may be out of order or jump, because cameras' clocks are
set by hand and by time servers. Therefore a frame is kept when its time is at least an interval before or after that of
the last kept frame, which it then replaces. When frames are out of order, more of them may be kept, but at
least one always is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eaves.sources.options.lru_cache import RecentValues

MAX_CAMERAS = 1_000
"""Maximum number of cameras whose last frame is remembered. A limit is needed because camera names come from topics or
folders, and other programs may create any number of these."""
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


@dataclass(frozen=True, slots=True)
class _Turn:
    last_ns: int
    due_ns: int


class Pacer:
    """Decides which frames the option `rate` keeps. Not thread-safe.

    Args:
        interval_ns: Minimum time between two frames of a camera, nanoseconds.
    """

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._turns: RecentValues[_Turn] = RecentValues(MAX_CAMERAS)

    def admit(self, camera: str, moment_ns: int) -> bool:
        """Return whether a frame is kept; the next one is then due an interval later.

        The interval begins at the time at which the kept frame was due, or at its capture time when it is late by an
        interval or more. So a camera whose frames come a little early and a little late still gets as many frames kept
        as the rate allows.

        Args:
            camera: Name of the camera.
            moment_ns: Capture time, nanoseconds since 1970.
        """
        turn = self._turns.get(camera)
        due_ns = moment_ns + self._interval_ns
        if turn is not None and turn.last_ns - self._interval_ns < moment_ns:
            if moment_ns < turn.due_ns:
                return False
            if moment_ns < turn.due_ns + self._interval_ns:
                due_ns = turn.due_ns + self._interval_ns
        self._turns.put(camera, _Turn(moment_ns, due_ns))
        return True
