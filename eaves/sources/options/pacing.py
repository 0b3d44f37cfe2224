"""Limit on the average rate of each camera's frames, by their capture times.

The times are those of the capture and not of the arrival, so the files that a folder has collected in a night are
reduced in the same way as if they had come one by one. Times may be out of order or jump, because cameras' clocks are
set by hand and by time servers. Therefore a frame is kept when its time is at least an interval before or after that of
the last kept frame, which it then replaces. When frames are out of order, more of them may be kept, but at
least one always is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

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
