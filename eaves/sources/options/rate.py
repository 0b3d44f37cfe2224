"""On average at most so many frames of each camera in a time, by when they were captured.

Times are those of the frames and not of their arrival: a folder's backlog of a night is thinned out as the same frames
would have been one by one. They may be out of order or jump, as cameras' clocks are set by hand and by time servers, so
no time is ever waited for: a frame that is as far as an interval from the last one, in either direction, is passed and
is the last one from then on. Frames out of order may let further ones pass; nothing ever stops passing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eaves.sources.options.lru_cache import RecentValues

MAX_CAMERAS = 1_000
"""Cameras whose last frame is remembered; topics and folders of others may name any number."""
_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|min|h|d)\s*")
_UNITS_S = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


def parse_interval_ns(rate: str) -> int:
    """Nanoseconds between two frames at a rate such as `2/s`, `30/min` or `1/10s`; 0 when it is empty.

    Raises:
        ValueError: When it is something else, faster than 1,000 frames a second, or slower than one in a year.
    """
    if not rate.strip():
        return 0
    match = _RATE.fullmatch(rate)
    frames = float(match[1]) if match else 0.0
    if match is None or not frames:
        raise ValueError(f"must be frames in a time, such as 2/s, 30/min or 1/10s (got {rate[:40]!r})")
    interval_s = float(match[2] or 1) * _UNITS_S[match[3]] / frames
    if not 0.001 <= interval_s <= 366 * 86_400:
        raise ValueError(f"must be between 1000/s and 1/366d (got {rate[:40]!r})")
    return round(interval_s * 1e9)


@dataclass(frozen=True, slots=True)
class _Turn:
    last_ns: int
    due_ns: int


class Pacer:
    """Says which frames are passed. Not safe to use from several threads.

    Args:
        interval_ns: Nanoseconds between two frames of a camera.
    """

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._turns: RecentValues[_Turn] = RecentValues(MAX_CAMERAS)

    def admit(self, camera: str, moment_ns: int) -> bool:
        """Return whether a frame is passed; when it is, the next one is due an interval later.

        Turns keep to a grid of the interval as long as frames come for each, so that a camera whose frames come a
        little early and a little late still has as many passed as the rate allows.

        Args:
            camera: Which camera it is from.
            moment_ns: When it was captured, nanoseconds since 1970.
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
