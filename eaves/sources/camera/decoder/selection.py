"""Which frames of a stream are decoded, and which of the decoded frames are sent."""

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
_UNFINISHED = 3
"""Number of key frames that may give no picture by themselves before all frames are decoded. Streams with gradual
refresh have such key frames."""
_REFRESH_S = 1.0
"""Seconds between two frames of a stream with gradual refresh when `every_s` is 0."""


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
        self._unfinished = 0
        self.decoding: Literal["key", "all"] = "key"
        self.key_interval_s = 0.0

    def begin_packet(self, *, is_key: bool, time_s: float) -> bool:
        """Note a packet and return whether it must be decoded."""
        if is_key:
            if self._last_key is not None and time_s > self._last_key:
                self.key_interval_s = time_s - self._last_key
            self._last_key = time_s
            self._choose()
        return is_key or self.decoding == "all"

    def note_picture(self, *, found: bool) -> None:
        """Note whether decoding a key frame by itself gave a picture."""
        self._unfinished = 0 if found else self._unfinished + 1
        if self._unfinished >= _UNFINISHED:
            self._every_s = self._every_s or _REFRESH_S

    def take(self, time_s: float) -> bool:
        """Return whether a frame of this time is sent, and count it as sent."""
        if self._every_s <= 0:
            return True
        if not self.is_due(time_s):
            return False
        if self._due is None or self._due - time_s > self._tolerance_s:
            self._due = time_s
        # A frame that is a little late doesn't make all later ones late.
        self._due = max(self._due, time_s - self._tolerance_s) + self._every_s
        return True

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

    def _choose(self) -> None:
        interval_s, every_s = self.key_interval_s, self._every_s
        if self._unfinished >= _UNFINISHED or interval_s > _ALL_ABOVE * every_s > 0:
            self.decoding = "all"
        elif every_s <= 0 or interval_s <= _KEY_BELOW * every_s:
            self.decoding = "key"
