"""Entries that the receiver takes for another site's: they wait until the site has its name or its token back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock
from eaves.spool import Entry, Spool
from eaves.spool.held_entries import first_held, held_sources, hold, hold_all, let_go

PAUSE = Backoff(retry=None, first_s=30.0, cap_s=600.0)
"""How long they wait until the first of them is tried again."""


@dataclass(slots=True)
class _Held:
    """What is held of one site.

    Attributes:
        due_at: When the first entry is tried again, on the monotonic clock.
        reason: Why they are held.
        refusals: How often they were refused in a row.
    """

    due_at: float
    reason: str = ""
    refusals: int = 0


class ForeignEntries:
    """Holds entries by class and by what their sources begin with, `/eaves/SITE/`. For one thread, but `look_again`.

    One entry, the first, is tried now and then, alone. When it gets through, all of them are let go in the order they
    were put. Until then what comes in of the same site waits behind them, so a source's order is kept.

    Args:
        spool: Holds the entries.
        lanes: Classes of events.
        clock: Time.
        jitter: Random numbers in [0, 1).
    """

    def __init__(self, spool: Spool, lanes: Sequence[str], clock: Clock, jitter: Callable[[], float]) -> None:
        self._spool = spool
        self._clock = clock
        self._jitter = jitter
        self._held: dict[str, dict[str, _Held]] = {lane: {} for lane in lanes}
        self._looks = True

    def request_refresh(self) -> None:
        """An operator may have let some go. From any thread."""
        self._looks = True

    def refresh(self) -> None:
        """Look for what is held since before the start, or was let go by an operator.

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
        """The entry that is tried now, alone; None when none is.

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
        """Those of a class's entries that are of no held site; the others are held too.

        Raises:
            SpoolError: When it can't be written.
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
        """Hold entries that were refused.

        Raises:
            SpoolError: When it can't be written.
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
        """The receiver takes these: let go of what is held of the same sites.

        Raises:
            SpoolError: When it can't be written.
        """
        known = self._held[lane]
        if not known:
            return
        for prefix in known.keys() & prefixes(entries):
            let_go(self._spool, lane, prefix)
            del known[prefix]

    def site_is(self, name: str) -> None:
        """The receiver knows this site by that name: what is held of it is tried at once."""
        for known in self._held.values():
            if held := known.get(f"/eaves/{name}/"):
                held.due_at = self._clock.monotonic()

    def _hold_all(self, lane: str, prefix: str, held: _Held) -> None:
        hold_all(self._spool, lane, prefix, self._until(held), held.reason)

    def _until(self, held: _Held) -> float:
        return self._clock.now() + max(0.0, held.due_at - self._clock.monotonic())


def prefix_of(source: str) -> str:
    """What the sources of a site begin with; a source that is of no site stands for itself."""
    parts = source.split("/", 3)
    return f"/eaves/{parts[2]}/" if len(parts) == 4 and parts[:2] == ["", "eaves"] else source


def prefixes(entries: Iterable[Entry]) -> set[str]:
    """What the sources of entries begin with."""
    return {prefix_of(source) for source in {entry.event.source for entry in entries}}
