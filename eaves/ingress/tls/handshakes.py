"""Counts failed TLS handshakes, and logs them once per address and hour."""

from __future__ import annotations

import logging
import threading

from eaves.base.clock import SYSTEM, Clock

LOG_EVERY_S = 3_600.0
"""Minimum time between two log lines about one address, seconds; a relay that doesn't trust a certificate tries every
few seconds."""
MOST = 1_000
"""Maximum number of peer addresses that are remembered. With more of them, an address is logged more than once an
hour."""

_log = logging.getLogger(__name__)


class FailedHandshakes:
    """Counts failed handshakes. Safe to use from many threads.

    Args:
        clock: Wall clock and monotonic clock.

    Attributes:
        count: Number of failures since the start.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self.count = 0

    def add(self, address: str, reason: str) -> None:
        """Count a failed handshake.

        Args:
            address: Address of the peer.
            reason: Why the handshake failed.
        """
        now = self._clock.monotonic()
        with self._lock:
            self.count += 1
            if now - self._logged_at.get(address, float("-inf")) < LOG_EVERY_S:
                return
            self._logged_at.pop(address, None)
            self._logged_at[address] = now
            if len(self._logged_at) > MOST:
                del self._logged_at[next(iter(self._logged_at))]
        _log.warning(
            "a TLS handshake with %s failed: %s; further failures with this address are logged at most once an hour",
            address,
            reason[:256],
        )
