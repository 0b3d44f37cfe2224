"""Storage of the events that sites send, with a result for each event, and the counts by site."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import EventError, SpoolError, SpoolFullError
from eaves.events import Event
from eaves.link.batch import MAX_DETAIL, BatchAnswer, RefusedEvent
from eaves.spool import PutOutcome, Spool
from eaves.spool.admin import measure_sites

LANE = "sink"
"""Name of the receiver's only lane. An agent's lane has the same name, so the same commands manage both queues."""
RECOUNT_S = 10.0
"""Time for which a count of what waits is used, seconds; counting reads all that waits, a second for half a million."""
OUTCOMES = (
    *("stored", "repeated", "predicted", "forged", "conflicting", "oversized", "malformed", "unauthorised"),
    *("overloaded", "full", "failed"),
)
"""Every outcome that events are counted by, in the order of the table in docs/link.md."""
STATUS_OUTCOMES = {403: "forged", 409: "conflicting"}
"""Outcome under which a refused event is counted, by its HTTP status; every other status is counted as malformed."""
LOG_S = 60.0
"""Minimum time between two log lines about refusals of the same kind and site, seconds; a refused sender retries at
once."""
METRIC = "eaves_receiver_events_total"

_log = logging.getLogger(__name__)


class SiteCounters:
    """Counts events by site and outcome. Safe to use from many threads.

    Args:
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._logged: dict[tuple[str, str], float] = {}
        self._contacts: dict[str, float] = {}

    def add(self, site: str, outcome: str, count: int = 1) -> None:
        """Count events, or requests that were refused before their events were known.

        Args:
            site: Name of the site; empty when it isn't known.
            outcome: One of `OUTCOMES`.
            count: Number to add.
        """
        with self._lock:
            self._counts.setdefault(site, Counter())[outcome] += count

    def refuse(self, site: str, outcome: str, detail: str) -> None:
        """Count a refusal, and log it unless a similar refusal of the site was logged recently."""
        self.add(site, outcome)
        now = self._clock.monotonic()
        with self._lock:
            if now - self._logged.get((site, outcome), float("-inf")) < LOG_S:
                return
            self._logged[site, outcome] = now
        _log.warning("refused as %s, site %s: %s", outcome, site or "unknown", detail[:256], extra={"site": site})

    def meet(self, site: str) -> None:
        """Record the current time as the last contact of a site, which has just authenticated itself."""
        with self._lock:
            self._contacts[site] = self._clock.now()

    def contacts(self) -> Mapping[str, float]:
        """Return the time of each site's last contact since the process started, Unix seconds."""
        with self._lock:
            return dict(self._contacts)

    def to_dict(self) -> Mapping[str, Mapping[str, int]]:
        """Return counts by site and outcome; unknown sites are counted together under the empty name."""
        with self._lock:
            return {site: dict(counts) for site, counts in self._counts.items()}

    def render_metrics(self) -> str:
        """Render the counters as Prometheus text."""
        lines = [
            f"# HELP {METRIC} Events, or requests refused before their events were known, by site and outcome.",
            f"# TYPE {METRIC} counter",
        ]
        for site, counts in sorted(self.to_dict().items()):
            known = [(outcome, counts[outcome]) for outcome in OUTCOMES if counts.get(outcome)]
            lines += [f'{METRIC}{{site="{site}",outcome="{outcome}"}} {count}' for outcome, count in known]
        return "\n".join([*lines, ""])


class ReceiverIntake:
    """Stores sites' events in the spool and counts the outcomes. Safe to use from many threads.

    There is room in the spool for all sites while deliveries wait: what waits of one site may take no more room than is
    still free. So one broken camera, or one stolen token, takes half of the spool, and the alarms of the other sites
    find room. Source: Choudhury and Hahne, Dynamic Queue Length Thresholds (1998), with a factor of 1.

    Args:
        spool: Spool with a ledger that stores the events.
        counters: Counters to update for each event.
        has_more_sites: Returns whether there is more than one site.
    """

    def __init__(self, spool: Spool, counters: SiteCounters, has_more_sites: Callable[[], bool] = lambda: True) -> None:
        self._spool = spool
        self._counters = counters
        self._has_more_sites = has_more_sites
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._waiting: dict[str, tuple[int, int]] = {}
        """Numbers of entries and bytes, by site."""

    def store_events(self, site: str, events: Sequence[Event | EventError]) -> BatchAnswer:
        """Store a site's events in one commit. All but the refused ones are on disk when this returns.

        Args:
            site: Name of the site that sends them.
            events: Events in order; one that is not well-formed is replaced by its error.

        Raises:
            SpoolFullError: When there is no room for the events; none was stored.
            SpoolError: When the events can't be written; none was stored.
        """
        refused: dict[int, tuple[int, str]] = {}
        wanted: dict[int, Event] = {}
        for index, event in enumerate(events):
            if isinstance(event, EventError):
                refused[index] = event.http_status, event.message
            elif fault := find_forgery(site, event):
                refused[index] = 403, fault
            else:
                wanted[index] = event
        outcomes: Sequence[PutOutcome] = ()
        try:
            if wanted:
                self._check_share(site, wanted.values())
                outcomes = self._spool.put_many([(event, (LANE,)) for event in wanted.values()], once=True)
        except SpoolError as error:
            self._counters.refuse(site, "full", error.message)
            raise
        for (index, event), outcome in zip(wanted.items(), outcomes, strict=True):
            if outcome is PutOutcome.CONFLICTING:
                about = f"an event from {event.source[:100]} with the id {event.id[:64]!r}"
                refused[index] = 409, f"{about} but other content was already received"
        stored = outcomes.count(PutOutcome.STORED)
        repeated = len(events) - stored - len(refused)
        self._counters.add(site, "stored", stored)
        self._counters.add(site, "repeated", repeated)
        for status, detail in refused.values():
            self._counters.refuse(site, STATUS_OUTCOMES.get(status, "malformed"), detail)
        answers = [
            RefusedEvent(index=index, status=status, detail=detail[:MAX_DETAIL])
            for index, (status, detail) in sorted(refused.items())
        ]
        return BatchAnswer(stored=stored, repeated=repeated, refused=tuple(answers))

    def _check_share(self, site: str, events: Collection[Event]) -> None:
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
        with self._lock:
            now = self._spool.clock.monotonic()
            if now - self._counted_at > RECOUNT_S:
                self._counted_at, self._waiting = now, measure_sites(self._spool, LANE)
            entries, waiting_bytes = self._waiting.get(site, (0, 0))
            entries, waiting_bytes = entries + len(events), waiting_bytes + sum(len(event.data) for event in events)
            if entries > free_entries or waiting_bytes > free_bytes:
                raise SpoolFullError(
                    f"{entries - len(events)} events of site {site} wait already, and the rest of the queue is kept "
                    "for other sites",
                    hint="send the events again later",
                )
            self._waiting[site] = entries, waiting_bytes


def find_forgery(site: str, event: Event) -> str:
    """Return why an event can't be this site's; empty when it can."""
    prefix = f"/eaves/{site}/"
    if event.source.startswith(prefix) and len(event.source) > len(prefix):
        return ""
    return f"the source of an event from site {site} must begin with {prefix} (got {event.source[:100]!r})"
