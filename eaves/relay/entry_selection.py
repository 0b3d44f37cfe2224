"""Selection of the spool's entries that the relay sends in its next request to the receiver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.relay.failed_entries import FailedEntries
from eaves.relay.foreign_entries import ForeignEntries
from eaves.spool import Entry, Spool

SET_ASIDE = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses before the next attempt of an event that was refused in a request of its own; other events are sent
meanwhile."""


class EntrySelector:
    """Chooses the entries that are sent next. For the forwarder's thread only, except `request_refresh`.

    The most urgent lane with waiting entries is served, from its oldest or its newest end. An entry that failed in a
    request of its own is retried in a request of its own. After such a failure the next request holds entries that have
    never failed, as long as there are any, so these get at least every second request however many entries fail. After
    an entry's first failure, entries of another lane come first. Entries that the receiver assigns to another site wait
    together (`foreign`).

    Args:
        spool: Spool that holds the entries.
        classes: Lanes of the spool, the most urgent first.
        newest_first: Whether each lane is served from its newest end.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).

    Attributes:
        foreign: Entries that the receiver assigns to another site.
    """

    def __init__(
        self,
        spool: Spool,
        classes: Sequence[str],
        *,
        newest_first: bool,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._classes = tuple(classes)
        self._newest_first = newest_first
        self._clock = clock
        self._jitter = jitter
        self._failed = FailedEntries(spool, classes, clock)
        self.foreign = ForeignEntries(spool, classes, clock, jitter)
        self._has_failed, self._failed_lane = False, ""
        self._known: Sequence[Entry] = ()

    def request_refresh(self) -> None:
        """Note that an operator may have changed the queue, so that the spool is searched again. For any thread."""
        self._failed.request_refresh()
        self.foreign.request_refresh()

    def choose(
        self,
        limit: Callable[[str], tuple[int, int]],
        unfinished: Callable[[str], Entry | None],
        known: Sequence[Entry] = (),
    ) -> tuple[str, list[Entry]]:
        """Return the lane and the entries of the next request; no entries when nothing is to be sent now.

        Args:
            limit: Returns the maximum number of events and of bytes for a request with entries of a lane.
            unfinished: Returns the entry of a lane that was sent in part; None without one.
            known: Entries that `guess_next` returned; they are not read again when they come next.
        """
        self._known = known
        self._failed.refresh()
        self.foreign.refresh()
        classes = sorted(self._classes, key=lambda lane: lane == self._failed_lane)  # stable: the others as they were
        for with_failed in (False, True) if self._has_failed else (True,):
            for lane in classes:
                begun = unfinished(lane)
                if begun is not None and (with_failed or not begun.attempts):
                    return lane, [begun]
                if (first := self.foreign.due(lane)) is not None:
                    return lane, [first]
                if with_failed and (again := self._failed.due(lane)) is not None:
                    return lane, [again]
                if entries := self._untried(lane, limit(lane)):
                    return lane, entries
        return "", []

    def set_aside(self, lane: str, entry: Entry, reason: str) -> None:
        """Postpone the retry of an entry that failed in a request of its own, so that other entries are sent first.

        Raises:
            SpoolError: When the spool can't be written.
        """
        pause_s = SET_ASIDE.pause_s(entry.attempts + 1, jitter=self._jitter())
        self._spool.retry(entry, max(0.0, self._clock.now()) + pause_s, reason)
        self._failed.add(lane, entry.seq, self._clock.monotonic() + pause_s)
        self._has_failed, self._failed_lane = True, "" if entry.attempts else lane

    def record_success(self, lane: str, entries: Sequence[Entry]) -> None:
        """Forget earlier failures of these entries, because a request with them succeeded."""
        self._has_failed, self._failed_lane = False, ""
        for entry in entries:
            self._failed.discard(lane, entry.seq)

    def gave_up(self, lane: str, entry: Entry) -> None:
        """Forget a failed entry, because it became a dead letter."""
        self._failed.discard(lane, entry.seq)

    def _untried(self, lane: str, limit: tuple[int, int]) -> list[Entry]:
        while entries := self._peek(lane, *limit):
            if entries[0].attempts:  # by an earlier release, whose operator made it due at once
                return entries[:1]
            if wanted := self.foreign.pass_over(lane, [entry for entry in entries if not entry.attempts]):
                return wanted
        return []

    def guess_next(self, lane: str, after: Entry, limit: tuple[int, int]) -> list[Entry]:
        """Return the entries that are likely to follow a request that ends with `after`. May be called from any thread.

        Raises:
            SpoolError: When the spool can't be read.
        """
        return [] if self._newest_first else self._peek(lane, *limit, after=after.seq)

    def _peek(self, lane: str, max_events: int, max_bytes: int, *, after: int = 0) -> list[Entry]:
        return self._spool.peek_batch(
            lane,
            now=self._clock.now(),
            max_events=max_events,
            max_bytes=max_bytes,
            newest_first=self._newest_first,
            untried=True,
            after=after,
            known=() if after else self._known,
        )
