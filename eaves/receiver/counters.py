"""Numbers of stored and refused events since the process started, by site."""

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
"""Every outcome that events are counted by, in the order of the table in docs/15-receiver.md."""
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

    def refuse(self, site: str, outcome: str, detail: str, count: int = 1) -> None:
        """Count refusals in one request, and log them unless a similar refusal of the site was logged recently."""
        self.add(site, outcome, count)
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
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield f"# HELP {METRIC} Events, or requests refused before their events were known, by site and outcome."
        yield f"# TYPE {METRIC} counter"
        for site, counts in sorted(self.to_dict().items()):
            for outcome in OUTCOMES:
                if count := counts.get(outcome, 0):
                    yield f'{METRIC}{{site="{site}",outcome="{outcome}"}} {count}'
