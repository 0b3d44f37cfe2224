"""Messages while images are collected: their number, and the reason when no new image comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from eaves.base.clock import SYSTEM, Clock
from eaves.sources.agent.counters import SourceCounters

LINE_S = 10.0
"""Interval between two printed lines with the number of images, seconds, where no progress bar is shown."""
STILL_S = 30.0
"""Seconds without a new image after which a message says so. Most snapshot URLs change about every second."""


class CollectionProgress:
    """Reports the progress of a collection of images.

    Args:
        name: Name of the source.
        wanted: Number of images to collect.
        kind: Kind of the source.
        lines: Whether to report the number of images, because no progress bar shows it.
        clock: Clock that measures the intervals.
        report: Prints one line.
    """

    def __init__(
        self, name: str, wanted: int, *, kind: str, lines: bool, clock: Clock = SYSTEM, report: Callable[[str], None]
    ) -> None:
        self._name = name
        self._wanted = wanted
        self._kind = kind
        self._lines = lines
        self._clock = clock
        self._report = report
        self._reported_at = self._changed_at = clock.monotonic()
        self._count = self._reported_count = 0
        self._dropped: Counter[str] = Counter()
        self._still = False

    def update(self, count: int, counters: SourceCounters) -> None:
        """Take the number of collected images and the source's counters, and report what has changed.

        Args:
            count: Number of images collected so far.
            counters: Counters of the source.
        """
        now = self._clock.monotonic()
        if count != self._count or counters.state != "watching":
            self._count, self._changed_at, self._still = count, now, False
            self._dropped = Counter(counters.dropped)
        elif now >= self._changed_at + STILL_S and not self._still:
            self._still = True
            self._report(f"{self._name}: {self._describe_standstill(Counter(counters.dropped) - self._dropped)}")
        done = count >= self._wanted and count != self._reported_count
        if self._lines and (done or now >= self._reported_at + LINE_S):
            self._reported_at, self._reported_count = now, count
            self._report(f"{count} of {self._wanted} images collected")

    def _describe_standstill(self, dropped: Counter[str]) -> str:
        """Return why no new image has come: the picture doesn't change, or images were left out, with the causes.

        A camera's HTTP server may itself report that its picture is unchanged; no image counts as left out then.
        """
        if dropped.keys() <= {"duplicate", "unchanged"} and (dropped or self._kind == "http"):
            return f"the picture hasn't changed for {STILL_S:.0f} s"
        left_out = ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()))
        return f"no new image for {STILL_S:.0f} s{f'; images left out: {left_out}' if left_out else ''}"
