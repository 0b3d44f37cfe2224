"""Hand-over of frames from the thread that reads a decoder's output to the thread of the source."""

from __future__ import annotations

import threading

from eaves.base.clock import Clock
from eaves.sources.camera.wire import StreamFrame


class FrameSlot:
    """Holds one frame at most. A newer frame replaces it, so a slow disk makes frames late and takes no memory.

    Args:
        clock: Clock by which `take` waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._frame: StreamFrame | None = None
        self._replaced = 0
        self._woken = False

    def put(self, frame: StreamFrame) -> None:
        """Store a frame in place of the one that was not taken, if any; never blocks."""
        with self._condition:
            self._replaced += self._frame is not None
            self._frame = frame
            self._condition.notify()

    def wake(self) -> None:
        """Let the current or the next call of `take` return at once."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def take(self, timeout_s: float) -> tuple[StreamFrame | None, int]:
        """Wait for a frame, for a call of `wake`, or for a time limit.

        Args:
            timeout_s: Time limit, seconds; 0 returns at once.

        Returns:
            frame: The newest frame; None when there is none.
            replaced: Number of frames that were replaced by newer ones since the last call.
        """
        deadline = self._clock.monotonic() + timeout_s
        with self._condition:
            while self._frame is None and not self._woken and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._condition, left_s)
            frame, replaced = self._frame, self._replaced
            self._frame, self._replaced, self._woken = None, 0, False
            return frame, replaced
