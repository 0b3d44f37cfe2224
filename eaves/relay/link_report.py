"""State of the relay's link, as the forwarder sees it and as the process reports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eaves.admin.report import LinkReport
from eaves.delivery.status import LaneDelivery
from eaves.relay.backlog_age import BacklogAge
from eaves.relay.link_state import LinkStatus
from eaves.spool import Spool


@dataclass(slots=True)
class ForwardedCounts:
    """Numbers of forwarded events since the process started. Not thread-safe.

    Attributes:
        forwarded: Number of events that the receiver's answers account for.
        repeated: Number of those that the receiver already had.
        refused: Number of events that the receiver refused for good.
        failed: Number of requests without a usable answer.
        bytes_sent: Size of the answered request bodies, bytes.
    """

    forwarded: int = 0
    repeated: int = 0
    refused: int = 0
    failed: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """State of a forwarder's link at one moment.

    Attributes:
        to: Address of the receiver.
        state: State of the link.
        since: When this state began, Unix seconds.
        since_age_s: Time in this state, seconds, on the monotonic clock.
        reason: Why nothing is forwarded; empty while the link works.
        status: HTTP status of the failure, 0 without an answer.
        paused: Whether nothing gets through, because of the link or of this machine.
        next_try_at: When the next attempt is made, Unix seconds.
        rates: Events, stored bytes and bytes on the wire per second; None before the first request.
        counts: Numbers of forwarded events.
        attempts: Number of attempts by lane and by outcome.
    """

    to: str
    state: LinkStatus
    since: float
    since_age_s: float
    reason: str
    status: int
    paused: bool
    next_try_at: float
    rates: tuple[float, float, float] | None
    counts: ForwardedCounts
    attempts: Mapping[str, Mapping[str, int]]


class ForwarderView(Protocol):
    """Interface of a forwarder that reports need."""

    classes: tuple[str, ...]

    def view(self) -> LinkView:
        """Return the state of the link."""

    def try_now(self) -> None:
        """Make the next attempt to send now, even when the link is down."""


class ClassDelivery:
    """Delivery of one lane by the forwarder, in the form that an operator's view needs.

    Args:
        lane: Name of the lane.
        forwarder: Forwarder that delivers the lane.
    """

    def __init__(self, lane: str, forwarder: ForwarderView) -> None:
        self._lane = lane
        self._forwarder = forwarder

    def status(self) -> LaneDelivery:
        """Return the state of the lane's delivery."""
        view = self._forwarder.view()
        attempts = view.attempts.get(self._lane, {})
        if not view.paused:
            return LaneDelivery(lane=self._lane, attempts=attempts)
        return LaneDelivery(
            lane=self._lane,
            paused=True,
            reason=view.reason,
            status=view.status,
            since=view.since,
            next_try_at=view.next_try_at,
            attempts=attempts,
        )

    def try_now(self) -> None:
        """Make the next attempt now even when the link is down."""
        self._forwarder.try_now()


def list_deliveries(forwarder: ForwarderView) -> Sequence[ClassDelivery]:
    """Return the delivery of each lane that a forwarder delivers."""
    return [ClassDelivery(lane, forwarder) for lane in forwarder.classes]


def build_reporter(spool: Spool, forwarder: ForwarderView) -> Callable[[], LinkReport]:
    """Return a function that reports on a relay's link.

    Args:
        spool: Spool of the relay.
        forwarder: Forwarder of that spool.
    """
    age = BacklogAge()

    def report() -> LinkReport:
        view = forwarder.view()
        lanes = [lane for lane in spool.lanes() if lane.lane in forwarder.classes]
        oldest = min((lane.oldest_at for lane in lanes if lane.oldest_at is not None), default=None)
        backlog_bytes = sum(lane.queued_bytes for lane in lanes)
        events_per_s, stored_per_s, wire_per_s = view.rates or (None, None, None)
        return LinkReport(
            to=view.to,
            up=view.state is LinkStatus.UP,
            state=view.state.value,
            since=view.since,
            since_age_s=view.since_age_s,
            reason=view.reason,
            events_per_s=events_per_s,
            bytes_per_s=wire_per_s,
            backlog_events=sum(lane.queued for lane in lanes),
            backlog_bytes=backlog_bytes,
            oldest_age_s=age.update(oldest, now=spool.clock.now(), monotonic=spool.clock.monotonic()),
            drain_s=backlog_bytes / stored_per_s if stored_per_s else None,
            forwarded=view.counts.forwarded,
            repeated=view.counts.repeated,
            refused=view.counts.refused,
            failed=view.counts.failed,
            bytes_sent=view.counts.bytes_sent,
            conflicting=spool.ledger.counts().conflicts if spool.ledger is not None else 0,
        )

    return report
