"""Limit of failed logins, for each address and for all addresses together.

Source: the token bucket, RFC 2697, section 3; OWASP ASVS 4.0.3, 2.2.1.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from eaves.base.clock import SYSTEM, Clock

PER_ADDRESS, PER_ADDRESS_REFILL_S = 5.0, 30.0
"""Number of failed logins of one address at once, and the time after which one more is allowed, seconds."""
IN_ALL, IN_ALL_REFILL_S = 50.0, 2.0
"""Number of failed logins of all addresses at once, and the time after which one more is allowed, seconds. In a
year these are 16 million guesses, from any number of addresses."""
MAX_ADDRESSES = 1_000
"""Number of addresses that are remembered; the one that was seen least recently is forgotten first. The limit of all
addresses still counts its attempts."""
LOG_EVERY_S = 60.0
"""Minimum time between two log lines about refused attempts, seconds, so that a guesser can't fill the log."""

_log = logging.getLogger(__name__)


class LoginLimit:
    """Counts failed logins. Safe to use from many threads.

    Args:
        clock: Its monotonic clock refills the buckets.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(IN_ALL, IN_ALL_REFILL_S, clock.monotonic())
        self._logged_at = -math.inf

    def take(self, address: str) -> int:
        """Count an attempt before its password is compared.

        The limit of one address is checked first, so one address can't use up the attempts of all.

        Args:
            address: IP address of the caller.

        Returns:
            0 when the attempt may be made; otherwise the time after which another may be, in whole seconds.
        """
        now = self._clock.monotonic()
        key = _group(address)
        with self._lock:
            bucket = self._buckets.pop(key, None) or _Bucket(PER_ADDRESS, PER_ADDRESS_REFILL_S, now)
            self._buckets[key] = bucket
            while len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
            wait_s = bucket.wait_s(now) or self._all.wait_s(now)
            if wait_s:
                self._log_refusal(address, now)
                return math.ceil(wait_s)
            bucket.take()
            self._all.take()
        return 0

    def _log_refusal(self, address: str, now: float) -> None:
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            _log.warning("logins from %s are refused for now: too many failed attempts", address)

    def give_back(self, address: str) -> None:
        """Forget an attempt, because its password was right."""
        with self._lock:
            self._all.give_back()
            if bucket := self._buckets.get(_group(address)):
                bucket.give_back()


class _Bucket:
    """Attempts that are left, refilled as time passes."""

    def __init__(self, size: float, refill_s: float, now: float) -> None:
        self._size, self._refill_s = size, refill_s
        self._left, self._at = size, now

    def wait_s(self, now: float) -> float:
        self._left = min(self._size, self._left + (now - self._at) / self._refill_s)
        self._at = now
        return 0.0 if self._left >= 1 else (1 - self._left) * self._refill_s

    def take(self) -> None:
        self._left -= 1

    def give_back(self) -> None:
        self._left = min(self._size, self._left + 1)


def _group(address: str) -> str:
    """Return the address, or the /64 network of an IPv6 address, of which one machine usually has all addresses."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
