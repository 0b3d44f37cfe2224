"""What was stored and refused since the process started, by site."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping

from eaves.base.clock import SYSTEM, Clock

STORED, REPEATED, PREDICTED = "stored", "repeated", "predicted"
FORGED, CONFLICTING, OVERSIZED, MALFORMED, UNAUTHORISED = (
    "forged", "conflicting", "oversized", "malformed", "unauthorised",
)  # fmt: skip
OVERLOADED, FULL, FAILED = "overloaded", "full", "failed"
OUTCOMES = (
    *(STORED, REPEATED, PREDICTED, FORGED, CONFLICTING, OVERSIZED, MALFORMED, UNAUTHORISED, OVERLOADED, FULL, FAILED),
)
"""In the order of the table in docs/15-receiver.md."""
LOG_S = 60.0
"""A refusal of one kind and site is logged once in so many seconds: whoever is refused comes again at once."""
METRIC = "eaves_receiver_events_total"

_log = logging.getLogger(__name__)


class SiteCounters:
    """Counts by site and outcome. For many threads.

    Args:
        clock: Time.
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
            site: Whose; empty when it isn't known.
            outcome: One of `OUTCOMES`.
            count: How many.
        """
        with self._lock:
            self._counts.setdefault(site, Counter())[outcome] += count

    def refuse(self, site: str, outcome: str, detail: str, count: int = 1) -> None:
        """Count a refusal, or several of one request, and log it unless one like it was logged just now."""
        self.add(site, outcome, count)
        now = self._clock.monotonic()
        with self._lock:
            if now - self._logged.get((site, outcome), float("-inf")) < LOG_S:
                return
            self._logged[site, outcome] = now
        _log.warning("refused as %s, site %s: %s", outcome, site or "unknown", detail[:256], extra={"site": site})

    def meet(self, site: str) -> None:
        """A site has shown who it is."""
        with self._lock:
            self._contacts[site] = self._clock.now()

    def contacts(self) -> Mapping[str, float]:
        """When each site was last in contact, Unix seconds, since the process started."""
        with self._lock:
            return dict(self._contacts)

    def to_dict(self) -> Mapping[str, Mapping[str, int]]:
        """Site to outcome to count; the unknown sites together are the empty name."""
        with self._lock:
            return {site: dict(counts) for site, counts in self._counts.items()}

    def render_metrics(self) -> str:
        """Prometheus text."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield f"# HELP {METRIC} Events, or requests refused before their events were known, by site and outcome."
        yield f"# TYPE {METRIC} counter"
        for site, counts in sorted(self.to_dict().items()):
            for outcome in OUTCOMES:
                if count := counts.get(outcome, 0):
                    yield f'{METRIC}{{site="{site}",outcome="{outcome}"}} {count}'
