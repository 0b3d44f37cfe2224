"""State of the receiver of one deliverer: whether it is reached, since when, and when the next attempt is made.

Its views are for status, metrics and display.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock

MAX_ASKED_PAUSE_S = 60.0
"""Maximum pause that a receiver may ask for, seconds; a proxy with a wrong clock must not stop a queue for an hour."""
BUSY_PAUSES = Backoff(retry=None, first_s=0.05, cap_s=MAX_ASKED_PAUSE_S)
"""Pauses after answers that put off one event each, such as 429, up to the pause that the receiver asks for. Often it
has no room for large images only, so small ones behind them are found soon."""
LOGIN_STATUSES = frozenset({401, 403})
"""HTTP statuses of a probe by which the receiver rejects this sender."""

_log = logging.getLogger(__name__)


class SinkStatus(enum.Enum):
    """Whether the receiver is reached."""

    STARTING = "starting"
    """It has not answered since the process started."""
    UP = "up"
    """The last request got a usable answer."""
    DOWN = "down"
    """There is no answer, or the answer is not the receiver's; deliveries are paused."""
    REFUSED = "refused"
    """The receiver answers but rejects this sender; deliveries are paused."""


class SinkState:
    """State of a receiver and the pause before the next attempt. Not thread-safe; the caller holds a lock.

    Args:
        name: Name of the queue, for the log.
        backoff: Pauses between attempts while the receiver isn't reached.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).
        has_probe: Whether the receiver can be probed.

    Attributes:
        state: Whether the receiver is reached.
        since: When this state began, Unix seconds.
        reason: Why it isn't reached; empty otherwise.
        status: HTTP status of the failure, 0 without an answer.
        failures: Number of failures in a row.
        unproven: Whether a probe must succeed before events are sent. So when events are refused, the probe has already
            shown that the network path and the token work.
        heard_at: When the receiver last answered, on the monotonic clock.
    """

    def __init__(
        self, name: str, backoff: Backoff, clock: Clock, jitter: Callable[[], float], *, has_probe: bool
    ) -> None:
        self._name = name
        self._backoff = backoff
        self._clock = clock
        self._jitter = jitter
        self._has_probe = has_probe
        self._until = self._since = clock.monotonic()
        self.state = SinkStatus.STARTING
        self.since = clock.now()
        self.reason = ""
        self.status = 0
        self.failures = 0
        self.unproven = has_probe
        self.heard_at = float("-inf")

    @property
    def is_paused(self) -> bool:
        """Whether the receiver is not reached, so that one entry is tried from time to time."""
        return self.state in (SinkStatus.DOWN, SinkStatus.REFUSED)

    def since_age_s(self) -> float:
        """Return the time in the current state, seconds, on the monotonic clock."""
        return self._clock.monotonic() - self._since

    def left_s(self) -> float:
        """Return the seconds until the next attempt may be made; 0 when it may be made now."""
        return max(0.0, self._until - self._clock.monotonic())

    def cut_short(self) -> None:
        """Allow the next attempt now; its result decides whether the pause continues."""
        self._until = self._clock.monotonic()

    def succeeded(self) -> None:
        """Record that a request succeeded, that the receiver chose to refuse its event, or that nothing waits."""
        self.failures = 0
        self.unproven = False
        self._until = self.heard_at = self._clock.monotonic()
        self._set_state(SinkStatus.UP)

    def probed(self, *, idle: bool) -> None:
        """Record that a probe succeeded; `idle` says whether no entry waits for the next request."""
        self.unproven = False
        self._until = self.heard_at = self._clock.monotonic()
        if idle or self.failures < 2:
            self.failures = 0 if idle else self.failures
            self._set_state(SinkStatus.UP)

    def failed(
        self,
        reason: str,
        status: int = 0,
        *,
        asked_s: float | None = None,
        lenient: bool = False,
        again: bool = False,
        busy: bool = False,
    ) -> None:
        """Record a failure of a request or a probe, and extend the pause.

        Failures of other requests that were already in progress don't extend it.

        Args:
            reason: Reason for the failure.
            status: HTTP status; 0 when there was no response.
            asked_s: Minimum pause that the receiver asked for, seconds; None when it asked for none.
            lenient: Whether the first failure in a row makes no pause yet: because the event may be at fault, or a
                kept connection may have ended, which the next request or probe shows. Only a probe shows that this
                sender is rejected.
            again: Whether an entry that failed alone before has failed again, which lengthens no pause.
            busy: Whether the receiver put off this event; `asked_s` is then when it wants the same event again, and the
                maximum pause of others.
        """
        if self.left_s() <= 0 and not (again and self.failures):
            self.failures += 1
        self.unproven = self._has_probe
        if lenient and self.failures == 1 and (busy or not asked_s):
            return
        if busy and asked_s is not None:
            pause_s = min(asked_s, BUSY_PAUSES.pause_s(self.failures - 1, jitter=self._jitter()))
        else:
            asked_s = min(asked_s or 0.0, MAX_ASKED_PAUSE_S)
            pause_s = self._backoff.pause_s(self.failures, jitter=self._jitter(), retry_after_s=asked_s)
        self._until = max(self._until, self._clock.monotonic() + pause_s)
        is_refused = self._has_probe and status in LOGIN_STATUSES and not lenient
        self._set_state(SinkStatus.REFUSED if is_refused else SinkStatus.DOWN, reason, status)

    def _set_state(self, state: SinkStatus, reason: str = "", status: int = 0) -> None:
        changed = state is not self.state
        if changed:
            was_paused = self.is_paused
            self.state, self.since, self._since = state, self._clock.now(), self._clock.monotonic()
            if state is SinkStatus.UP and (was_paused or self._has_probe):
                _log.info("queue %s is no longer paused", self._name)
        if reason and (changed or (reason, status) != (self.reason, self.status)):
            _log.warning("queue %s is paused; its events are kept: %s", self._name, reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDelivery:
    """The state of one lane's delivery.

    Attributes:
        lane: Name of the lane.
        paused: Whether the network path to the receiver counts as broken; then one entry is tried from time to time.
        reason: Reason for the pause; empty when the lane isn't paused.
        status: HTTP status that paused the lane; 0 when there was no response.
        since: Time at which the pause began, Unix seconds; None when the lane isn't paused.
        next_try_at: Time of the next attempt, Unix seconds; None when the lane isn't paused.
        attempts: Number of attempts since the process started, by outcome: `delivered`, `retried` and `dead`.
    """

    lane: str
    paused: bool = False
    reason: str = ""
    status: int = 0
    since: float | None = None
    next_try_at: float | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkView:
    """The state of a receiver at one moment, as one deliverer sees it.

    Attributes:
        state: Whether the receiver is reached.
        since: When this state began, Unix seconds.
        since_age_s: Time in this state, seconds, on the monotonic clock.
        reason: Why nothing is delivered; empty while it works.
        status: HTTP status of the failure, 0 without an answer.
        paused: Whether nothing gets through, because of the receiver, the way to it, or this machine.
        next_try_at: When the next attempt is made, Unix seconds.
    """

    state: SinkStatus
    since: float
    since_age_s: float
    reason: str
    status: int
    paused: bool
    next_try_at: float
