"""TLS handshakes that failed: counted, and told once an address and hour."""

from __future__ import annotations

import logging
import threading

from eaves.base.clock import SYSTEM, Clock

TELL_S = 3_600.0
"""How often one address is told of, seconds: a relay that doesn't trust a certificate tries every few seconds."""
MOST = 1_000
"""Addresses that are remembered; whoever has more of them is told of more often."""

_log = logging.getLogger(__name__)


class FailedHandshakes:
    """Counts handshakes that failed. For many threads.

    Args:
        clock: Time.

    Attributes:
        count: How many failed since the start.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self.count = 0

    def add(self, address: str, reason: str) -> None:
        """One failed.

        Args:
            address: The other side's.
            reason: Why.
        """
        now = self._clock.monotonic()
        with self._lock:
            self.count += 1
            if now - self._told.get(address, float("-inf")) < TELL_S:
                return
            self._told.pop(address, None)
            self._told[address] = now
            if len(self._told) > MOST:
                del self._told[next(iter(self._told))]
        _log.warning("a TLS handshake with %s failed: %s; told once an hour for each address", address, reason[:256])
