"""Whose turn it is: which entries the next request holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.relay.failed_entries import FailedEntries
from eaves.relay.foreign_entries import ForeignEntries
from eaves.spool import Entry, Spool

SET_ASIDE = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""How long an event that alone is refused lets the others pass."""


class EntrySelector:
    """Chooses what is sent. For the forwarder's thread alone, but for `look_again`.

    The most urgent class that has anything is served, from its oldest or its newest end. An entry that failed alone is
    sent alone again. When one has just failed, the next request holds entries that never did, as long as there are any:
    so however many entries fail, the others get at least every second request. When it failed for the first time, those
    of another class come first. Entries that the receiver takes for another site's wait together (`foreign`).

    Args:
        spool: Holds the entries.
        classes: Lanes of the spool, the most urgent first.
        newest_first: Serve each class from its newest end.
        clock: Time.
        jitter: Random numbers in [0, 1).

    Attributes:
        foreign: What the receiver takes for another site's.
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
        """An operator may have changed something. From any thread."""
        self._failed.request_refresh()
        self.foreign.request_refresh()

    def choose(
        self,
        limit: Callable[[str], tuple[int, int]],
        unfinished: Callable[[str], Entry | None],
        known: Sequence[Entry] = (),
    ) -> tuple[str, list[Entry]]:
        """The next request: a class and its entries; no entries when nothing is to be sent now.

        Args:
            limit: Gives the most events and the most bytes of a request of a class.
            unfinished: Gives the entry of a class that was sent in part.
            known: What `guess_next` gave; when these entries come next, they are not read again.
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
        """Let the others pass for a while.

        Raises:
            SpoolError: When it can't be written.
        """
        pause_s = SET_ASIDE.pause_s(entry.attempts + 1, jitter=self._jitter())
        self._spool.retry(entry, max(0.0, self._clock.now()) + pause_s, reason)
        self._failed.add(lane, entry.seq, self._clock.monotonic() + pause_s)
        self._has_failed, self._failed_lane = True, "" if entry.attempts else lane

    def got_through(self, lane: str, entries: Sequence[Entry]) -> None:
        """A request got through, with what failed before or without."""
        self._has_failed, self._failed_lane = False, ""
        for entry in entries:
            self._failed.discard(lane, entry.seq)

    def gave_up(self, lane: str, entry: Entry) -> None:
        """An entry became a dead letter."""
        self._failed.discard(lane, entry.seq)

    def _untried(self, lane: str, limit: tuple[int, int]) -> list[Entry]:
        while entries := self._peek(lane, *limit):
            if entries[0].attempts:  # by an earlier release, whose operator made it due at once
                return entries[:1]
            if wanted := self.foreign.pass_over(lane, [entry for entry in entries if not entry.attempts]):
                return wanted
        return []

    def guess_next(self, lane: str, after: Entry, limit: tuple[int, int]) -> list[Entry]:
        """What is likely to be chosen after a request whose last entry is `after`. From any thread.

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
