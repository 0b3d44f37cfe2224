"""Times of a stream: which packets are decoded, which frames are sent, and when they were captured."""

from __future__ import annotations

from typing import Literal

_TOLERANCE, _MAX_TOLERANCE_S = 0.1, 0.2
"""Part of `every_s`, and seconds, by which a frame may come too early, because key frames never come at exactly equal
intervals."""
_JUMP = 3
"""A frame that is due in more than `every_s` times this factor shows that times jumped back."""
_ALL_ABOVE = 1.5
"""All frames are decoded when key frames are further apart than `every_s` times this factor."""
_KEY_BELOW = 1.25
"""Only key frames are decoded again when they are closer than `every_s` times this factor."""
WINDOW_S = 10.0
"""Length of one of the two periods of which the smallest difference is taken, seconds. A camera's clock that is wrong
by 100 parts per million shifts it by 2 ms in that time."""
MAX_DELAY_S = 2.0
"""Maximum difference between a frame's capture time and its arrival, seconds. When stream times jump back, or run too
slowly, no capture time is wrong by more."""


class FrameSelection:
    """Decides from the times of frames, in seconds.

    Args:
        every_s: Minimum time between two frames; 0 for every key frame.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._tolerance_s = 0.0
        self._seen: float | None = None
        self._due: float | None = None
        self._last_key: float | None = None
        self.decoding: Literal["key", "all"] = "key"
        self.key_interval_s = 0.0

    def begin_packet(self, *, is_key: bool, time_s: float) -> bool:
        """Note a packet and return whether it must be decoded."""
        if is_key:
            if self._last_key is not None and time_s > self._last_key:
                self.key_interval_s = time_s - self._last_key
            self._last_key = time_s
            if self.key_interval_s > _ALL_ABOVE * self._every_s > 0:
                self.decoding = "all"
            elif self._every_s <= 0 or self.key_interval_s <= _KEY_BELOW * self._every_s:
                self.decoding = "key"
        return is_key or self.decoding == "all"

    def is_due(self, time_s: float) -> bool:
        """Note a frame that could be sent, and return whether `take` would return True."""
        if self._seen is not None and time_s > self._seen:
            # When the next frame comes soon, this one needn't be taken too early.
            interval_s = time_s - self._seen
            self._tolerance_s = min(_TOLERANCE * self._every_s, _MAX_TOLERANCE_S, interval_s / 2)
        self._seen = time_s
        if self._every_s <= 0 or self._due is None:
            return True
        ahead = self._due - time_s
        return ahead <= self._tolerance_s or ahead > _JUMP * self._every_s

    def take(self, time_s: float) -> bool:
        """Return whether a frame of this time is sent, and count it as sent."""
        if not self.is_due(time_s):
            return False
        if self._due is None or self._due - time_s > self._tolerance_s:
            self._due = time_s
        # A frame that is a little late doesn't make all later ones late.
        self._due = max(self._due, time_s - self._tolerance_s) + self._every_s
        return True


class CaptureClock:
    """Finds capture times; all times are in seconds, and those of arrival on a monotonic clock.

    The camera's clock isn't used, because it may be wrong by years and may jump. The time of arrival is right but for
    delays: a large frame on a slow link arrives late, and a burst after a stall arrives at once. The stream's own times
    are right relative to each other. So a frame's capture time is its stream time plus the smallest difference between
    arrival and stream time that was seen in the last seconds.
    """

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
