"""Capture times of a live stream's frames, from the times of their arrival and the stream's own times.

The camera's clock isn't used, because it may be wrong by years and may jump. The time of arrival is right but for
delays: a large frame on a slow link arrives late, and a burst after a stall arrives at once. The stream's own times are
right relative to each other. So a frame's capture time is its stream time plus the smallest difference between arrival
and stream time that was seen in the last seconds.
"""

from __future__ import annotations

WINDOW_S = 10.0
"""Length of one of the two periods of which the smallest difference is taken, seconds. A camera's clock that is wrong
by 100 parts per million shifts it by 2 ms in that time."""
MAX_DELAY_S = 2.0
"""Maximum difference between a frame's capture time and its arrival, seconds. When stream times jump back, or run too
slowly, no capture time is wrong by more."""


class CaptureClock:
    """Finds capture times; all times are in seconds, and those of arrival on a monotonic clock."""

    def __init__(self) -> None:
        self._began = 0.0
        self._current: float | None = None
        self._previous: float | None = None

    def observe(self, stream_time: float | None, arrived: float) -> None:
        """Note that the first byte of a frame arrived."""
        if stream_time is None:
            return
        offset = arrived - stream_time
        smallest = self._smallest()
        if smallest is not None and offset - smallest > MAX_DELAY_S:
            self._current = self._previous = None  # the stream's times jumped back
        if self._current is None or arrived - self._began >= WINDOW_S:
            self._began, self._previous, self._current = arrived, self._current, offset
        self._current = min(self._current, offset)

    def find(self, stream_time: float | None, arrived: float) -> float:
        """Return the capture time of a frame, which is at most `arrived`."""
        smallest = self._smallest()
        if stream_time is None or smallest is None:
            return arrived
        return max(arrived - MAX_DELAY_S, min(arrived, stream_time + smallest))

    def _smallest(self) -> float | None:
        if self._current is None or self._previous is None:
            return self._current
        return min(self._current, self._previous)
