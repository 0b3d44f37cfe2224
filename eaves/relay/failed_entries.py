"""Entries that failed alone, and when each is tried again, whatever the wall clock does."""

from __future__ import annotations

from collections.abc import Sequence

from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.file.schema import FREED

LOOK_S = 60.0
"""How often the spool is looked through for those that nobody here knows, seconds."""
MAX_ENTRIES = 10_000
"""Entries of a class that are known; about 100 bytes each. One that is forgotten is due at the next look."""


class FailedEntries:
    """Entries by class with the time of their next attempt. For one thread, but for `look_again`.

    The times are on the monotonic clock, so a clock that is set makes no pause longer. An entry of which nobody knows,
    as after a start, is due at once.

    Args:
        spool: Holds the entries.
        lanes: Classes of events.
        clock: Time.
    """

    def __init__(self, spool: Spool, lanes: Sequence[str], clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._due: dict[str, dict[int, float]] = {lane: {} for lane in lanes}
        self._look_at = float("-inf")

    def request_refresh(self) -> None:
        """An operator may have made some due."""
        self._look_at = float("-inf")

    def refresh(self) -> None:
        """Look for entries that are not known, and for those that an operator has made due; once a minute."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for lane, known in self._due.items():
            for seq, due in self._spool.tried(lane, MAX_ENTRIES):
                if seq not in known or due == FREED:
                    self.add(lane, seq, now)

    def add(self, lane: str, seq: int, due_at: float) -> None:
        """An entry failed, and is due again then."""
        known = self._due[lane]
        known.pop(seq, None)
        known[seq] = due_at
        if len(known) > MAX_ENTRIES:
            del known[next(iter(known))]

    def discard(self, lane: str, seq: int) -> None:
        """An entry got through, or is a dead letter."""
        self._due[lane].pop(seq, None)

    def due(self, lane: str) -> Entry | None:
        """The entry of a class that has been due for longest; None when none is.

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
