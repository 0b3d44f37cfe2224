"""Storage of one site's events in the spool, with a result for each event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from eaves.errors import EventError, SpoolError
from eaves.events import Event
from eaves.link import BatchAnswer, RefusedEvent
from eaves.receiver.counters import CONFLICTING, FORGED, FULL, MALFORMED, REPEATED, STORED, SiteCounters
from eaves.spool import PutOutcome, Spool

LANE = "sink"
"""Name of the receiver's only lane. An agent's lane has the same name, so the same commands manage both queues."""
OUTCOMES = {403: FORGED, 409: CONFLICTING}
"""Outcome under which a refused event is counted, by its HTTP status; every other status is counted as `MALFORMED`."""


class ReceiverIntake:
    """Stores sites' events in the spool and counts the outcomes.

    Args:
        spool: Spool with a ledger that stores the events.
        counters: Counters to update for each event.
    """

    def __init__(self, spool: Spool, counters: SiteCounters) -> None:
        self._spool = spool
        self._counters = counters

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
