"""Scheduling of scans that keeps the CPU use low, however large the folder is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eaves.base.clock import Clock

SHARE = 10.0
"""Minimum pause after a scan, as a multiple of the scan's duration."""


class ScanPace:
    """Computes the time of the next scan from the duration of the last one. For one thread only.

    Args:
        clock: Wall clock and monotonic clock.

    Attributes:
        next_at: When the next scan is due, monotonic seconds.
        soonest_at: When the next scan may begin if a file was missed, monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self.next_at = self.soonest_at = float("-inf")
        self._clock = clock
        self._length_s = 0.0

    def begin(self) -> None:
        """Begin to measure a scan."""
        self._length_s = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the time in the block as part of the scan."""
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
