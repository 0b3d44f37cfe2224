"""Times of the scans of a folder, chosen so that scans take little CPU time however large the folder is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eaves.base.clock import Clock

SHARE = 10.0
"""Minimum pause after a scan as a multiple of the scan's duration, so that scans take at most a tenth of a CPU."""


class ScanPace:
    """Computes the time of the next scan from the duration of the last one. For one thread only.

    Args:
        clock: Wall clock and monotonic clock.

    Attributes:
        next_at: Time at which the next scan is due, monotonic seconds.
        soonest_at: Earliest time at which the next scan may begin, for a file that was missed, monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self.next_at = self.soonest_at = float("-inf")
        self._clock = clock
        self._length_s = 0.0

    def begin(self) -> None:
        """Start the measurement of a new scan's duration."""
        self._length_s = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add the time that the block takes to the duration of the current scan."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._length_s += self._clock.monotonic() - began

    def end(self, interval_s: float) -> None:
        """End a scan; the next one is due after `interval_s` seconds, or after the minimum pause if that is longer."""
        self.soonest_at = self._clock.monotonic() + SHARE * self._length_s
        self.next_at = max(self._clock.monotonic() + interval_s, self.soonest_at)

    def reset(self) -> None:
        """Make a scan due now, because the folder was replaced."""
        self.next_at = self.soonest_at = float("-inf")
