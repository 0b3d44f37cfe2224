"""When a folder is scanned, so that no folder is so large that scanning it takes a whole core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eaves.base.clock import Clock

SHARE = 10.0
"""The pause after a scan is at least so many times the scan's own length."""


class ScanPace:
    """The time of the next scan, from how long the last one took. For one thread.

    Args:
        clock: Time.

    Attributes:
        next_at: When the next scan is due, monotonic seconds.
        soonest_at: When it may begin if something was missed, monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self.next_at = self.soonest_at = float("-inf")
        self._clock = clock
        self._length_s = 0.0

    def begin(self) -> None:
        """A scan begins."""
        self._length_s = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Time inside counts as part of the scan."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._length_s += self._clock.monotonic() - began

    def end(self, interval_s: float) -> None:
        """A scan has ended; the next one is due `interval_s` seconds later, or when it has paused long enough."""
        self.soonest_at = self._clock.monotonic() + SHARE * self._length_s
        self.next_at = max(self._clock.monotonic() + interval_s, self.soonest_at)

    def reset(self) -> None:
        """A scan is due now, as there is another folder."""
        self.next_at = self.soonest_at = float("-inf")
