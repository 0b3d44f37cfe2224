"""Entries that failed in a request of their own, and the monotonic time at which each one is retried."""

from __future__ import annotations

from collections.abc import Sequence

from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.schema import FREED

POLL_S = 60.0
"""Interval at which the spool is searched for failed entries that this process doesn't know, seconds."""
MAX_ENTRIES = 10_000
"""Maximum number of failed entries that are remembered per lane, about 100 bytes each. Any other failed entry is due
when the spool is searched next."""


class FailedEntries:
    """Failed entries by lane, with the time of their next attempt. For one thread only, except `request_refresh`.

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
        self._due: dict[str, dict[int, float]] = {lane: {} for lane in lanes}
        self._look_at = float("-inf")

    def request_refresh(self) -> None:
        """Note that an operator may have made entries due; the next `refresh` searches the spool."""
        self._look_at = float("-inf")

    def refresh(self) -> None:
        """Search for unknown failed entries and for those that an operator has made due, once a minute."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + POLL_S
        for lane, known in self._due.items():
            for seq, due in self._spool.tried(lane, MAX_ENTRIES):
                if seq not in known or due == FREED:
                    self.add(lane, seq, now)

    def add(self, lane: str, seq: int, due_at: float) -> None:
        """Add an entry that failed and is due again at `due_at`, monotonic seconds."""
        known = self._due[lane]
        known.pop(seq, None)
        known[seq] = due_at
        if len(known) > MAX_ENTRIES:
            del known[next(iter(known))]

    def discard(self, lane: str, seq: int) -> None:
        """Forget an entry that was delivered or became a dead letter."""
        self._due[lane].pop(seq, None)

    def due(self, lane: str) -> Entry | None:
        """Return the entry of a lane that has been due for longest; None when no entry is due.

        Raises:
            SpoolError: When the spool can't be read.
        """
        known, now = self._due[lane], self._clock.monotonic()
        while known:
            seq = min(known, key=known.__getitem__)
            if known[seq] > now:
                return None
            entry = self._spool.get_queued(seq)
            if entry is not None and entry.attempts:
                return entry
            del known[seq]  # it was deleted, or given up on
        return None
