"""Entries that failed in a request of their own, and the monotonic time at which each one is retried."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.schema import FREED

POLL_S = 60.0
"""Interval at which the spool is searched for failed entries that this process doesn't know, seconds."""
MIN_POLL_S = 1.0
"""The same after a change of the spool, as when an operator makes entries due, seconds."""
MAX_ENTRIES = 10_000
"""Maximum number of failed entries that are remembered per lane, about 100 bytes each. Any other failed entry is due
when the spool is searched next."""


class FailedEntries:
    """Failed entries by lane, with the time of their next attempt. Safe to use from many threads.

    The times are monotonic, so setting the clock makes no pause longer. An entry that this process doesn't know, as
    after a start, is due at once.

    Args:
        spool: Spool that holds the entries.
        lanes: Lanes of the spool.
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, spool: Spool, lanes: Sequence[str], clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, dict[int, float]] = {lane: {} for lane in lanes}
        self._searched_at = self._wanted_at = float("-inf")

    def request_refresh(self) -> None:
        """Note that an operator has made entries due; the next `refresh` searches the spool."""
        self._wanted_at = float("-inf")

    def note_change(self) -> None:
        """Note that the spool has changed, perhaps because an operator made entries due."""
        if self.count():
            self._wanted_at = min(self._wanted_at, self._searched_at + MIN_POLL_S)

    def refresh(self) -> None:
        """Search for unknown failed entries and for those that an operator has made due, if it is time to.

        Raises:
            SpoolError: When the spool can't be read.
        """
        now = self._clock.monotonic()
        if now < self._wanted_at:
            return
        self._searched_at, self._wanted_at = now, now + POLL_S
        for lane, known in self._due.items():
            for seq, due in self._spool.tried(lane, MAX_ENTRIES):
                if seq not in known or due == FREED:
                    self.add(lane, seq, now)

    def add(self, lane: str, seq: int, due_at: float) -> None:
        """Add an entry that failed and is due again at `due_at`, monotonic seconds."""
        with self._lock:
            known = self._due[lane]
            known.pop(seq, None)
            known[seq] = due_at
            if len(known) > MAX_ENTRIES:
                del known[next(iter(known))]

    def discard(self, lane: str, seq: int) -> None:
        """Forget an entry that was delivered or became a dead letter."""
        with self._lock:
            self._due[lane].pop(seq, None)

    def count(self) -> int:
        """Return the number of known entries."""
        return sum(map(len, self._due.values()))

    def due(self, lane: str, exclude: Collection[int] = ()) -> Entry | None:
        """Return the entry of a lane that has been due for longest and isn't in `exclude`; None when there is none.

        Raises:
            SpoolError: When the spool can't be read.
        """
        while (seq := self._first(lane, exclude)) is not None:
            if (entry := self._spool.get_queued(seq)) is not None:
                return entry
            self.discard(lane, seq)  # it was deleted, or given up on
        return None

    def next_due_s(self, exclude: Collection[int] = ()) -> float:
        """Return the seconds until the next entry that isn't in `exclude` is due; infinite when there is none."""
        with self._lock:
            times = [at for known in self._due.values() for seq, at in known.items() if seq not in exclude]
        return max(0.0, min(times, default=float("inf")) - self._clock.monotonic())

    def _first(self, lane: str, exclude: Collection[int]) -> int | None:
        now = self._clock.monotonic()
        with self._lock:
            known = self._due[lane]
            due = [(at, seq) for seq, at in known.items() if at <= now and seq not in exclude]
        return min(due)[1] if due else None
