"""The pause of one lane after failures that blame the receiver or the network path to it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock

_log = logging.getLogger(__name__)


class Pause:
    """Counts a lane's failures in a row and computes its pause from them. Not thread-safe; its caller holds a lock.

    Args:
        lane: Name of the lane, for the log.
        backoff: Back-off that gives the lengths of pauses.
        clock: Clock for wall time and monotonic time.
        jitter: Function that returns random numbers in [0, 1).

    Attributes:
        active: Whether the network path counts as broken, from the failure that says so until an attempt succeeds.
        failures: Number of failures in a row.
        since: Time at which the pause became active, Unix seconds.
        reason: Reason for the pause.
        status: HTTP status of the last failure; 0 when there was no response.
    """

    def __init__(self, lane: str, backoff: Backoff, clock: Clock, jitter: Callable[[], float]) -> None:
        self._lane = lane
        self._backoff = backoff
        self._clock = clock
        self._jitter = jitter
        self._until = float("-inf")
        self.active = False
        self.failures = 0
        self.since = 0.0
        self.reason = ""
        self.status = 0

    def left_s(self) -> float:
        """Return the seconds until the next attempt may be made; 0 when it may be made now."""
        return max(0.0, self._until - self._clock.monotonic())

    def fail(self, reason: str, status: int, *, at_least_s: float | None = None, lenient: bool = False) -> None:
        """Record a failure and extend the pause.

        Failures of other attempts that were already in flight don't extend it.

        Args:
            reason: Reason for the failure.
            status: HTTP status; 0 when there was no response.
            at_least_s: Minimum length of the pause in seconds.
            lenient: Whether the first failure in a row makes no pause yet.
        """
        if self.left_s() <= 0:
            self.failures += 1
        if lenient and self.failures == 1 and not at_least_s:
            return
        pause_s = self._backoff.pause_s(self.failures, jitter=self._jitter(), retry_after_s=at_least_s)
        self._until = max(self._until, self._clock.monotonic() + pause_s)
        if not self.active:
            self.since = self._clock.now()
        if not self.active or (reason, status) != (self.reason, self.status):
            _log.warning("queue %s is paused; its events are kept: %s", self._lane, reason)
        self.active, self.reason, self.status = True, reason, status

    def cut_short(self) -> None:
        """Allow the next attempt now; its result decides whether the pause continues."""
        self._until = float("-inf")

    def end(self) -> None:
        """End the pause, because the receiver has responded or no entry is left to try."""
        if self.active:
            _log.info("queue %s is no longer paused", self._lane)
        self.active, self.failures = False, 0
        self._until = float("-inf")
