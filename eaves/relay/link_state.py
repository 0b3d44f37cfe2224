"""State of the relay's link to the receiver, its last change, and the time of the next attempt."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock

PATIENCE = Backoff(retry=None, first_s=0.5, cap_s=4.0)
"""Pauses between attempts while the link is down. A link that is up for 10 s of every 30 must be found soon, and an
attempt costs some hundred bytes."""
LONGEST_RETRY_AFTER_S = 60.0
"""Maximum pause that a receiver may ask for, seconds; a proxy with a wrong clock must not stop forwarding for an
hour."""
MOST_REFUSALS = 4
"""Number of refused requests in a row, with successful probes between them, after which the link counts as down."""

_log = logging.getLogger(__name__)


class LinkStatus(enum.Enum):
    """State of the link."""

    STARTING = "starting"
    """The receiver has not answered since the process started."""
    UP = "up"
    """The last request got an answer of a receiver."""
    DOWN = "down"
    """There is no answer, or the answer is not a receiver's."""
    REFUSED = "refused"
    """The receiver answers but rejects this site or, after the site's name changed, the events under the old name."""


class LinkState:
    """State of the link and the pause before the next attempt. Not thread-safe; the caller holds a lock.

    One failed request doesn't take the link down, because a kept connection may have ended while it was idle. A failed
    probe takes it down, and so do two failed requests in a row.

    Args:
        to: The receiver's address, for the log.
        clock: Wall clock and monotonic clock.
        jitter: Returns a random number in [0, 1).
        backoff: Pauses between attempts while the link is down.

    Attributes:
        state: State of the link.
        since: When this state began, Unix seconds.
        reason: Why the link is down or refused; empty otherwise.
        status: HTTP status of the failure, 0 without an answer.
        unproven: Whether a probe must succeed before events are sent. So when events are refused, the probe has already
            shown that the network path and the token work.
        heard_at: When the receiver last answered, on the monotonic clock.
    """

    def __init__(self, to: str, clock: Clock, jitter: Callable[[], float], *, backoff: Backoff = PATIENCE) -> None:
        self._to = to
        self._backoff = backoff
        self._clock = clock
        self._jitter = jitter
        self._until = self._since = clock.monotonic()
        self._lost_probes = self._lost_sends = self._lost_again = 0
        self._only_foreign = False
        self.state = LinkStatus.STARTING
        self.since = clock.now()
        self.reason = ""
        self.status = 0
        self.unproven = True
        self.heard_at = float("-inf")

    @property
    def is_blocked(self) -> bool:
        """Whether the link is down or the receiver refuses this site, so that no event can be delivered."""
        return self.state in (LinkStatus.DOWN, LinkStatus.REFUSED)

    def since_age_s(self) -> float:
        """Return the time in the current state, seconds, on the monotonic clock."""
        return self._clock.monotonic() - self._since

    def left_s(self) -> float:
        """Return the seconds until the next attempt may be made; 0 when it may be made now."""
        return max(0.0, self._until - self._clock.monotonic())

    def cut_short(self) -> None:
        """Allow the next attempt now; its result decides whether the pause continues."""
        self._until = self._clock.monotonic()

    def probed(self, *, idle: bool, empty: bool = True) -> None:
        """Record that a probe succeeded.

        Args:
            idle: Whether no event that failed before is due now.
            empty: Whether no event waits at all.
        """
        self._record_answer()
        self._lost_probes = 0
        if idle:
            self._lost_sends = 0
        if empty:
            self._only_foreign = False
        if self._lost_sends < 2 and not self._only_foreign:
            self._turn(LinkStatus.UP)

    def sent(self) -> None:
        """Record that a request of events succeeded."""
        self._record_answer()
        self._lost_probes = self._lost_sends = self._lost_again = 0
        self._only_foreign = False
        self._turn(LinkStatus.UP)

    def probe_failed(
        self, reason: str, status: int = 0, *, refused: bool = False, asked_s: float | None = None
    ) -> None:
        """Record that a probe got no usable answer.

        Args:
            reason: Why the probe failed.
            status: HTTP status, 0 without an answer.
            refused: Whether the receiver rejects this site.
            asked_s: Minimum pause that the receiver asked for, seconds; None when it asked for none.
        """
        self._lost_probes += 1
        self._fail(self._lost_probes, asked_s)
        self._turn(LinkStatus.REFUSED if refused else LinkStatus.DOWN, reason, status)

    def send_failed(self, reason: str, status: int = 0, *, asked_s: float | None = None) -> None:
        """Record that a request of events got no usable answer; the first in a row is followed by a probe at once."""
        self._lost_sends += 1
        self._fail(self._lost_sends - 1, asked_s)
        if self._lost_sends >= 2:
            self._turn(LinkStatus.DOWN, reason, status)

    def event_failed(self, reason: str, status: int, *, again: bool = False) -> None:
        """Record that events were refused although probes succeed; after several in a row the link counts as down.

        Args:
            reason: Why the events were refused.
            status: HTTP status.
            again: Whether the event was refused in a request of its own before. Such a refusal
                says nothing about the link, and doesn't lengthen the pause.
        """
        if again:
            self._lost_again += 1
            self._fail(max(self._lost_sends - 1, min(self._lost_again - 1, 1)), None)
            return
        self._lost_sends += 1
        self._fail(self._lost_sends - 1, None)
        if self._lost_sends >= MOST_REFUSALS:
            self._turn(LinkStatus.DOWN, reason, status)

    def events_refused(self, reason: str, status: int) -> None:
        """Record that a request was answered and each of its events was refused as another site's.

        The link counts as refused until the receiver accepts an event, or until no event waits.
        """
        self._lost_sends += 1
        self._only_foreign = True
        self._fail(self._lost_sends - 1, None)
        self._turn(LinkStatus.REFUSED, reason, status)

    def _fail(self, failures: int, asked_s: float | None) -> None:
        self.unproven = True
        pause_s = self._backoff.pause_s(failures, jitter=self._jitter()) if failures else 0.0
        self._until = self._clock.monotonic() + max(pause_s, min(asked_s or 0.0, LONGEST_RETRY_AFTER_S))

    def _record_answer(self) -> None:
        self.unproven = False
        self.heard_at = self._clock.monotonic()
        self._until = self.heard_at

    def _turn(self, state: LinkStatus, reason: str = "", status: int = 0) -> None:
        changed = state is not self.state
        if changed:
            self.state, self.since, self._since = state, self._clock.now(), self._clock.monotonic()
            if state is LinkStatus.UP:
                _log.info("the link to %s is up", self._to)
        if reason and (changed or (reason, status) != (self.reason, self.status)):
            _log.warning("the link to %s is %s; events are kept until it is up: %s", self._to, state.value, reason)
        self.reason, self.status = reason, status
