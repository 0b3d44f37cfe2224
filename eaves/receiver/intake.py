"""Storage of one site's events in the spool, with a result for each event."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from eaves.errors import EventError, SpoolError, SpoolFullError
from eaves.events import Event
from eaves.link import BatchAnswer, RefusedEvent
from eaves.receiver.counters import CONFLICTING, FORGED, FULL, MALFORMED, REPEATED, STORED, SiteCounters
from eaves.spool import PutOutcome, Spool
from eaves.spool.admin import measure_sites

LANE = "sink"
"""Name of the receiver's only lane. An agent's lane has the same name, so the same commands manage both queues."""
RECOUNT_S = 10.0
"""Time for which a count of what waits is used, seconds; counting reads all that waits, a second for half a million."""
OUTCOMES = {403: FORGED, 409: CONFLICTING}
"""Outcome under which a refused event is counted, by its HTTP status; every other status is counted as `MALFORMED`."""


class SiteShares:
    """Leaves room in the spool for all sites while deliveries wait. Safe to use from many threads.

    What waits of one site may take no more room than is still free. So one broken camera, or one stolen token, takes
    half of the spool, and the alarms of the other sites find room. Source: Choudhury and Hahne, Dynamic Queue Length
    Thresholds (1998), with a factor of 1.

    Args:
        spool: Spool that stores the events.
        has_more_sites: Returns whether there is more than one site.
    """

    def __init__(self, spool: Spool, has_more_sites: Callable[[], bool]) -> None:
        self._spool = spool
        self._has_more_sites = has_more_sites
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._waiting: dict[str, tuple[int, int]] = {}
        """Numbers of entries and bytes, by site."""

    def check(self, site: str, events: Sequence[Event]) -> None:
        """Check that a site's events may be stored.

        Raises:
            SpoolFullError: When the site has used its share of the room.
            SpoolError: When the spool can't be read.
        """
        limits = self._spool.limits
        free_bytes = limits.max_bytes - self._spool.size_bytes()
        free_entries = limits.max_entries - self._spool.depth()
        is_half_free = 2 * free_bytes >= limits.max_bytes and 2 * free_entries >= limits.max_entries
        if is_half_free or not self._has_more_sites():
            return
        size_bytes = sum(len(event.data) for event in events)
        with self._lock:
            now = self._spool.clock.monotonic()
            if now - self._counted_at > RECOUNT_S:
                self._counted_at, self._waiting = now, measure_sites(self._spool, LANE)
            entries, waiting_bytes = self._waiting.get(site, (0, 0))
            entries, waiting_bytes = entries + len(events), waiting_bytes + size_bytes
            if entries > free_entries or waiting_bytes > free_bytes:
                raise SpoolFullError(
                    f"{entries - len(events)} events of site {site} wait already, and the rest of the queue is kept "
                    "for other sites",
                    hint="send the events again later",
                )
            self._waiting[site] = entries, waiting_bytes


class ReceiverIntake:
    """Stores sites' events in the spool and counts the outcomes.

    Args:
        spool: Spool with a ledger that stores the events.
        counters: Counters to update for each event.
        has_more_sites: Returns whether there is more than one site.
    """

    def __init__(self, spool: Spool, counters: SiteCounters, has_more_sites: Callable[[], bool] = lambda: True) -> None:
        self._spool = spool
        self._counters = counters
        self._shares = SiteShares(spool, has_more_sites)

    def store_events(self, site: str, events: Sequence[Event | EventError]) -> BatchAnswer:
        """Store a site's events in one commit. All but the refused ones are on disk when this returns.

        Args:
            site: Name of the site that sends them.
            events: Events in order; one that is not well-formed is replaced by its error.

        Raises:
            SpoolFullError: When there is no room for the events; none was stored.
            SpoolError: When the events can't be written; none was stored.
        """
        refused: dict[int, RefusedEvent] = {}
        wanted: list[tuple[int, Event]] = []
        for index, event in enumerate(events):
            if isinstance(event, EventError):
                refused[index] = _refuse(index, event.http_status, event.message)
            elif fault := find_forgery(site, event):
                refused[index] = _refuse(index, 403, fault)
            else:
                wanted.append((index, event))
        outcomes = self._store(site, [event for _, event in wanted])
        for (index, event), outcome in zip(wanted, outcomes, strict=True):
            if outcome is PutOutcome.CONFLICTING:
                detail = (
                    f"an event from {event.source[:100]} with the id {event.id[:64]!r} but "
                    "other content was already received"
                )
                refused[index] = _refuse(index, 409, detail)
        stored = outcomes.count(PutOutcome.STORED)
        repeated = len(events) - stored - len(refused)
        self._counters.add(site, STORED, stored)
        self._counters.add(site, REPEATED, repeated)
        self._count_refused(site, refused.values())
        return BatchAnswer(stored=stored, repeated=repeated, refused=tuple(refused[index] for index in sorted(refused)))

    def _store(self, site: str, events: Sequence[Event]) -> Sequence[PutOutcome]:
        try:
            self._shares.check(site, events)
            return self._spool.put_many([(event, (LANE,)) for event in events], once=True) if events else ()
        except SpoolError as error:
            self._counters.refuse(site, FULL, error.message)
            raise

    def _count_refused(self, site: str, refused: Collection[RefusedEvent]) -> None:
        """Count the refusals of a request by kind, and log the first of each kind."""
        outcomes = Counter(OUTCOMES.get(one.status, MALFORMED) for one in refused)
        for outcome, count in outcomes.items():
            detail = next(one.detail for one in refused if OUTCOMES.get(one.status, MALFORMED) == outcome)
            self._counters.refuse(site, outcome, detail, count)


def _refuse(index: int, status: int, detail: str) -> RefusedEvent:
    return RefusedEvent(index=index, status=status, detail=detail[:300])


def find_forgery(site: str, event: Event) -> str:
    """Return why an event can't be this site's; empty when it can."""
    prefix = f"/eaves/{site}/"
    if event.source.startswith(prefix) and len(event.source) > len(prefix):
        return ""
    return f"the source of an event from site {site} must begin with {prefix} (got {event.source[:100]!r})"
