"""Entries that failed: whether a refused one is at fault, from the results of others, and when each is retried.

A proxy that answers 403 to everything and a firewall that answers 403 to one image look alike from that one image. The
difference is whether other entries succeed meanwhile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.schema import FREED

ROUNDS = 10
"""Minimum number of refusals, with successes of other entries between them, before an entry counts as at fault."""
MAX_REFUSED_SHARE = 0.05
"""Maximum share of other entries that are refused as well, for an entry to count as refused alone. A proxy that refuses
every large image refuses more, and its images wait until it is corrected. One other entry is always allowed."""
MAX_CHANCE = 1e-5
"""Maximum probability that all refusals of one entry happened by chance, for the entry to count as at fault."""
MOST_COUNTED = 8
"""Maximum number of refusals that are counted for one entry. An entry that is refused by chance rarely has many in
a row, and without the limit, many entries that are at fault and are tried repeatedly would hide each other's fault.
"""
MAX_STORES = 100
"""Maximum number of object stores whose refusals are counted apart. The one refused longest ago is forgotten first."""
MAX_SUSPECTS = 10_000
"""Maximum number of entries that are remembered, about 200 bytes each. The one refused longest ago is forgotten
first; its count then starts again.
"""


@dataclass(slots=True)
class _Suspect:
    """The record of an entry that was refused.

    Attributes:
        rounds: Number of refusals with a success of another entry between them, including the first.
        refusals: Number of all refusals, up to `MOST_COUNTED`.
        passes: Number of successes of other entries at the time of the last refusal.
        passes_before: Number of successes of other entries at the start of the first round.
        refusals_before: Number of refusals of other entries at the start of the first round.
    """

    rounds: int
    refusals: int
    passes: int
    passes_before: int
    refusals_before: int


class RefusalHistory:
    """The refusals and successes of one lane. Not thread-safe; its caller holds a lock.

    Args:
        max_refused_share: Maximum share of other entries that are refused as well for an entry to be at fault; 1 for a
            sender that has other proof that the network path works.
    """

    def __init__(self, max_refused_share: float = MAX_REFUSED_SHARE) -> None:
        self._max_refused_share = max_refused_share
        self._passes = 0
        self._refusals = 0
        self._suspects: OrderedDict[int, _Suspect] = OrderedDict()

    def passed(self, seq: int) -> None:
        """Record that an entry succeeded."""
        self._passes += 1
        self._suspects.pop(seq, None)

    def refused(self, seq: int) -> bool:
        """Record that an entry was refused; return whether the entry itself is at fault.

        An entry counts as at fault after ten rounds when it is refused alone: when the other entries succeeded, but for
        a few (`MAX_REFUSED_SHARE`) that are refused as well. When entries are refused and then succeed, for example by
        one of two replicas, it takes as many rounds as make it unlikely that chance hit this entry each time.
        """
        suspect = self._suspects.get(seq)
        if suspect is None:
            suspect = _Suspect(1, 0, self._passes, self._passes, self._refusals)
            self._suspects[seq] = suspect
            if len(self._suspects) > MAX_SUSPECTS:
                self._suspects.popitem(last=False)
        self._suspects.move_to_end(seq)
        if suspect.refusals < MOST_COUNTED:
            suspect.refusals += 1
            self._refusals += 1
        if self._passes == suspect.passes:
            if suspect.rounds == 1:  # no other entry succeeded since, so its first round starts now
                suspect.passes_before = self._passes
                suspect.refusals_before = self._refusals - suspect.refusals
            return False
        suspect.rounds += 1
        suspect.passes = self._passes
        if suspect.rounds < ROUNDS or not self._is_alone(suspect) or not self._is_unlikely(suspect):
            return False
        self.forget(seq)
        return True

    def forget(self, seq: int) -> None:
        """Forget an entry that was given up; its refusals say nothing about the network path."""
        if suspect := self._suspects.pop(seq, None):
            self._refusals -= suspect.refusals

    def _is_alone(self, suspect: _Suspect) -> bool:
        passed = self._passes - suspect.passes_before
        return len(self._suspects) - 1 <= max(1.0, self._max_refused_share * passed)

    def _is_unlikely(self, suspect: _Suspect) -> bool:
        refused = max(0, self._refusals - suspect.refusals - suspect.refusals_before)
        passed = self._passes - suspect.passes_before
        chance = 1.0
        for number in range(suspect.rounds):  # Laplace's rule of succession, once for each refusal
            chance *= (refused + 1 + number) / (refused + passed + 2 + number)
        return chance <= MAX_CHANCE


class RefusalHistories:
    """The history of a lane, and one history for each store that a receiver can't fetch the data of events from.

    While a store is down or refuses a key, events with data still succeed. They say nothing about the store, so they
    must not turn the events that refer to it into dead letters. Not thread-safe; its caller holds a lock.

    Args:
        has_probe: Whether the receiver is probed before an event is suspected, which proves that the way works.
    """

    def __init__(self, *, has_probe: bool = False) -> None:
        lane = RefusalHistory(1.0 if has_probe else MAX_REFUSED_SHARE)
        self._histories: OrderedDict[str, RefusalHistory] = OrderedDict({"": lane})

    def passed(self, seq: int, store: str) -> None:
        """Record that an entry succeeded.

        Args:
            seq: Number of the entry.
            store: Host of the store that holds the event's data; empty for an event with data.
        """
        for one in {"", store}:
            if history := self._histories.get(one):
                history.passed(seq)

    def refused(self, seq: int, store: str) -> bool:
        """Record that an entry was refused; return whether the entry itself is at fault.

        Args:
            seq: Number of the entry.
            store: Host of the store that the receiver couldn't fetch the event's data from; empty for another reason.
        """
        history = self._histories.setdefault(store, RefusalHistory())
        for one in (store, ""):  # that of the lane is never forgotten
            self._histories.move_to_end(one)
        if len(self._histories) > MAX_STORES:
            self._histories.popitem(last=False)
        return history.refused(seq)

    def forget(self, seq: int) -> None:
        """Forget an entry that was given up."""
        for history in self._histories.values():
            history.forget(seq)


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
