"""Entries that the receiver assigns to another site; they wait until the site has its name or its token back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.admin import first_held, held_sources, hold, hold_all, release_held

PAUSE = Backoff(retry=None, first_s=30.0, cap_s=600.0)
"""Pauses before the first of the entries that are held together is sent again."""


@dataclass(slots=True)
class _Held:
    """Entries that are held under one source prefix.

    Attributes:
        due_at: When the first entry is retried, on the monotonic clock.
        reason: Why the entries are held.
        refusals: Number of refusals in a row.
    """

    due_at: float
    reason: str = ""
    refusals: int = 0


class ForeignEntries:
    """Holds entries by lane and by source prefix, `/eaves/SITE/`. For one thread only, except `request_refresh`.

    The first held entry is retried in a request of its own from time to time. When the receiver accepts it, all held
    entries are released in the order in which they were put. Until then new entries of the same site
    wait behind them, so a source's order is kept.

    Args:
        spool: Spool that holds the entries.
        lanes: Lanes of the spool.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).
    """

    def __init__(self, spool: Spool, lanes: Sequence[str], clock: Clock, jitter: Callable[[], float]) -> None:
        self._spool = spool
        self._clock = clock
        self._jitter = jitter
        self._held: dict[str, dict[str, _Held]] = {lane: {} for lane in lanes}
        self._looks = True

    def request_refresh(self) -> None:
        """Note that an operator may have released entries. May be called from any thread."""
        self._looks = True

    def refresh(self) -> None:
        """Find the entries that were held before the start, or that an operator released.

        Raises:
            SpoolError: When the spool can't be read.
        """
        if not self._looks:
            return
        self._looks = False
        now = self._clock.monotonic()
        for lane, known in self._held.items():
            found = {prefix_of(source) for source in held_sources(self._spool, lane)}
            self._held[lane] = {prefix: _Held(now, known[prefix].reason if prefix in known else "") for prefix in found}

    def due(self, lane: str) -> Entry | None:
        """Return the held entry that is now retried in a request of its own; None when no entry is due.

        Raises:
            SpoolError: When the spool can't be read or written.
        """
        now = self._clock.monotonic()
        for prefix, held in list(self._held[lane].items()):
            if held.due_at > now:
                continue
            self._hold_all(lane, prefix, held)  # a kill may have let go of the first ones only
            entry = first_held(self._spool, lane, prefix)
            if entry is not None:
                return entry
            del self._held[lane][prefix]  # they were deleted
        return None

    def pass_over(self, lane: str, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries whose source prefix isn't held; hold the other ones together with those held before.

        Raises:
            SpoolError: When the spool can't be written.
        """
        known = self._held[lane]
        if not known:
            return list(entries)
        for prefix in known.keys() & prefixes(entries):
            of_it = [entry for entry in entries if prefix_of(entry.event.source) == prefix]
            hold(self._spool, of_it, self._until(known[prefix]), known[prefix].reason)
            self._hold_all(lane, prefix, known[prefix])
        return [entry for entry in entries if prefix_of(entry.event.source) not in known]

    def refused(self, lane: str, entries: Sequence[Entry], reason: str) -> None:
        """Hold entries that the receiver refused because it assigns them to another site.

        Raises:
            SpoolError: When the spool can't be written.
        """
        known = self._held[lane]
        for prefix in prefixes(entries):
            held = known.setdefault(prefix, _Held(0.0))
            held.refusals += 1
            pause_s = PAUSE.pause_s(held.refusals, jitter=self._jitter())
            held.due_at, held.reason = self._clock.monotonic() + pause_s, reason
            of_it = [entry for entry in entries if prefix_of(entry.event.source) == prefix]
            hold(self._spool, of_it, self._clock.now() + pause_s, reason)

    def release(self, lane: str, entries: Iterable[Entry]) -> None:
        """Release the held entries of the sites whose entries the receiver takes again.

        Raises:
            SpoolError: When the spool can't be written.
        """
        known = self._held[lane]
        if not known:
            return
        for prefix in known.keys() & prefixes(entries):
            release_held(self._spool, lane, prefix)
            del known[prefix]

    def site_is(self, name: str) -> None:
        """Make the held entries of a site due at once, as the receiver now knows the relay by this site's name."""
        for known in self._held.values():
            if held := known.get(f"/eaves/{name}/"):
                held.due_at = self._clock.monotonic()

    def _hold_all(self, lane: str, prefix: str, held: _Held) -> None:
        hold_all(self._spool, lane, prefix, self._until(held), held.reason)

    def _until(self, held: _Held) -> float:
        return self._clock.now() + max(0.0, held.due_at - self._clock.monotonic())


def prefix_of(source: str) -> str:
    """Return the prefix that all sources of a site share; a source that belongs to no site is its own prefix."""
    parts = source.split("/", 3)
    return f"/eaves/{parts[2]}/" if len(parts) == 4 and parts[:2] == ["", "eaves"] else source


def prefixes(entries: Iterable[Entry]) -> set[str]:
    """Return the prefixes of the entries' sources."""
    return {prefix_of(source) for source in {entry.event.source for entry in entries}}
