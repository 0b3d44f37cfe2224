"""Latencies of functions, kept until the history has grown, so that many open pages cost as much as one."""

from __future__ import annotations

import threading

from eaves.base.clock import SYSTEM, Clock
from eaves.console.model.functions.latency import Latency, read_latency
from eaves.history import Records

MAX_AGE_S = 5.0
"""Time for which latencies are kept although the history grows, seconds: the interval at which pages ask."""
IDLE_S = 60.0
"""Time after which latencies are computed again although the history didn't grow, seconds: the last hour moves."""


class LatencyCache:
    """Reads latencies; safe to call from many threads.

    Args:
        records: The history.
        clock: Clock for ages.
    """

    def __init__(self, records: Records, clock: Clock = SYSTEM) -> None:
        self._records = records
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[int, float, Latency]] = {}

    def read(self, function: str) -> Latency:
        """Return the latencies of a deployed function.

        Raises:
            PlatformError: When the history can't be read.
        """
        newest, now = self._records.newest(), self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(function)
            if kept is not None and now - kept[1] < (IDLE_S if kept[0] == newest else MAX_AGE_S):
                return kept[2]
            found = read_latency(self._records, function, self._clock.now())
            self._kept[function] = newest, now, found
            return found
