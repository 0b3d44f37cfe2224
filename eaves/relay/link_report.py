"""Report on a relay's link to its receiver."""

from __future__ import annotations

from collections.abc import Callable

from eaves.admin.report import LinkReport
from eaves.delivery import Deliverer, DeliveryOutcome
from eaves.delivery.sink_state import SinkStatus
from eaves.relay.backlog_age import BacklogAge
from eaves.relay.link_sender import LinkSender
from eaves.spool import Spool


def build_reporter(spool: Spool, deliverer: Deliverer, sender: LinkSender, to: str) -> Callable[[], LinkReport]:
    """Return a function that reports on a relay's link to the receiver at the address `to`."""
    age = BacklogAge()

    def report() -> LinkReport:
        view = deliverer.view()
        lanes = [lane for lane in spool.lanes() if lane.lane in deliverer.lanes]
        oldest = min((lane.oldest_at for lane in lanes if lane.oldest_at is not None), default=None)
        backlog_bytes = sum(lane.queued_bytes for lane in lanes)
        events_per_s, stored_per_s, wire_per_s = sender.rates() or (None, None, None)
        return LinkReport(
            to=to,
            up=view.state is SinkStatus.UP,
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
            forwarded=sender.counts.forwarded,
            repeated=sender.counts.repeated,
            refused=sum(deliverer.status(lane).attempts.get(DeliveryOutcome.DEAD.value, 0) for lane in deliverer.lanes),
            failed=sender.counts.failed,
            bytes_sent=sender.counts.bytes_sent,
            conflicting=spool.ledger.counts().conflicts if spool.ledger is not None else 0,
        )

    return report
