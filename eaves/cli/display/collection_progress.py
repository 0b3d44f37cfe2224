"""What is said while images are collected: how many there are, and that the picture stands still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from eaves.base.clock import SYSTEM, Clock
from eaves.sources.agent.counters import SourceCounters

LINE_S = 10.0
"""Seconds between two lines where no bar is shown."""
STILL_S = 30.0
"""Seconds without a new image after which that is said: most snapshot URLs have a new picture each second or so."""


class CollectionProgress:
    """Says how a collection of images goes on.

    Args:
        name: The source's name.
        wanted: How many images there are to be.
        kind: The source's kind.
        lines: Whether to say how many there are, as no bar shows it.
        clock: Time.
        tell: Says a line.
    """

    def __init__(
        self, name: str, wanted: int, *, kind: str, lines: bool, clock: Clock = SYSTEM, tell: Callable[[str], None]
    ) -> None:
        self._name = name
        self._wanted = wanted
        self._kind = kind
        self._lines = lines
        self._clock = clock
        self._tell = tell
        self._told_at = self._changed_at = clock.monotonic()
        self._count = self._told_count = 0
        self._dropped: Counter[str] = Counter()
        self._still = False

    def update(self, count: int, counters: SourceCounters) -> None:
        """Look at how many images there are and at what the source has done."""
        now = self._clock.monotonic()
        if count != self._count or counters.state != "watching":
            self._count, self._changed_at, self._still = count, now, False
            self._dropped = Counter(counters.dropped)
        elif now >= self._changed_at + STILL_S and not self._still:
            self._still = True
            self._tell(f"{self._name}: {self._describe_standstill(Counter(counters.dropped) - self._dropped)}")
        done = count >= self._wanted and count != self._told_count
        if self._lines and (done or now >= self._told_at + LINE_S):
            self._told_at, self._told_count = now, count
            self._tell(f"{count} of {self._wanted} images collected")

    def _describe_standstill(self, dropped: Counter[str]) -> str:
        """Why there is no new image; a snapshot URL whose server says so itself has nothing dropped."""
        if dropped.keys() <= {"duplicate", "unchanged"} and (dropped or self._kind == "http"):
            return f"the picture hasn't changed for {STILL_S:.0f} s"
        left_out = ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()))
        return f"no new image for {STILL_S:.0f} s{f'; left out: {left_out}' if left_out else ''}"
