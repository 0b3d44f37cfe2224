"""Whether the link is up, since when and why not, and when it is tried next."""

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
"""How long a receiver may ask us to wait, seconds; a proxy with a wrong clock must not hold the queue for an hour."""
MOST_REFUSALS = 4
"""Requests in a row that are refused, with good probes between them, until the link counts as down."""

_log = logging.getLogger(__name__)


class LinkStatus(enum.Enum):
    """What is known of the link."""

    STARTING = "starting"
    """Nothing was answered yet since the process started."""
    UP = "up"
    """The last request was answered as a receiver answers."""
    DOWN = "down"
    """There is no answer, or none of a receiver."""
    REFUSED = "refused"
    """The receiver answers, and lets in neither this site nor, after its name has changed, what is of the old name."""


class LinkState:
    """The state, and the pause before the next attempt. Not safe for threads: its caller holds a lock.

    One request that fails doesn't make the link down: a kept connection may have ended while nobody used it. A probe
    that fails does, and so do two requests in a row.

    Args:
        to: The receiver's address, for the log.
        clock: Time.
        jitter: Random numbers in [0, 1).
        backoff: Pauses between attempts while the link is down.

    Attributes:
        state: What is known.
        since: Since when, Unix seconds.
        reason: Why it is down or refused; empty otherwise.
        status: HTTP status that says so, 0 without an answer.
        unproven: Whether a probe must get through before anything is sent. So a refusal of what is sent follows an
            answer that shows that the way and the token are good.
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
        """Whether nothing gets through."""
        return self.state in (LinkStatus.DOWN, LinkStatus.REFUSED)

    def since_age_s(self) -> float:
        """How long it has been in this state, seconds, on the monotonic clock."""
        return self._clock.monotonic() - self._since

    def left_s(self) -> float:
        """Seconds until the next attempt may be made; 0 when it may."""
        return max(0.0, self._until - self._clock.monotonic())

    def cut_short(self) -> None:
        """Let the next attempt be made now; it decides whether the pause goes on."""
        self._until = self._clock.monotonic()

    def probed(self, *, idle: bool, empty: bool = True) -> None:
        """A probe got through.

        Args:
            idle: Whether nothing is due that failed to be sent.
            empty: Whether nothing waits at all.
        """
        self._heard()
        self._lost_probes = 0
        if idle:
            self._lost_sends = 0
        if empty:
            self._only_foreign = False
        if self._lost_sends < 2 and not self._only_foreign:
            self._turn(LinkStatus.UP)

    def sent(self) -> None:
        """A request got through."""
        self._heard()
        self._lost_probes = self._lost_sends = self._lost_again = 0
        self._only_foreign = False
        self._turn(LinkStatus.UP)

    def probe_failed(
        self, reason: str, status: int = 0, *, refused: bool = False, asked_s: float | None = None
    ) -> None:
        """A probe got no usable answer.

        Args:
            reason: Why.
            status: HTTP status, 0 without an answer.
            refused: Whether the receiver doesn't let this site in.
            asked_s: Shortest pause.
        """
        self._lost_probes += 1
        self._fail(self._lost_probes, asked_s)
        self._turn(LinkStatus.REFUSED if refused else LinkStatus.DOWN, reason, status)

    def send_failed(self, reason: str, status: int = 0, *, asked_s: float | None = None) -> None:
        """A request of events got no usable answer. The first in a row is followed by a probe at once."""
        self._lost_sends += 1
        self._fail(self._lost_sends - 1, asked_s)
        if self._lost_sends >= 2:
            self._turn(LinkStatus.DOWN, reason, status)

    def event_failed(self, reason: str, status: int, *, again: bool = False) -> None:
        """What was sent is refused on a way that seems good; when nothing gets through in between, it isn't.

        Args:
            reason: Why.
            status: HTTP status.
            again: Whether it was refused alone before. That says nothing about the way, and makes its pause no longer.
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
        """A request got through, and each of its events is refused as another site's.

        The link counts as refused until an event gets through, or none waits.
        """
        self._lost_sends += 1
        self._only_foreign = True
        self._fail(self._lost_sends - 1, None)
        self._turn(LinkStatus.REFUSED, reason, status)

    def _fail(self, failures: int, asked_s: float | None) -> None:
        self.unproven = True
        pause_s = self._backoff.pause_s(failures, jitter=self._jitter()) if failures else 0.0
        self._until = self._clock.monotonic() + max(pause_s, min(asked_s or 0.0, LONGEST_RETRY_AFTER_S))

    def _heard(self) -> None:
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
