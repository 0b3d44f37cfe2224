"""Entry point of the relay, which stores a site's events and forwards them: `python -P -m eaves.link.relay`.

The relay takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own
durable queue. One thread forwards them to a receiver over one kept connection, the most urgent lane first, and releases
exactly those events that the receiver's answer accounts for. The relay runs in the agent's container image, and its
queue is administered like an agent's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from eaves.admin.report import LinkReport
from eaves.base.backoff import UNLIMITED
from eaves.delivery import Deliverer, DeliveryOutcome, SinkClient
from eaves.delivery.rejection import build_rejection, is_dead_letter, strip
from eaves.delivery.sink_state import SinkStatus
from eaves.errors import ConfigError
from eaves.events import IMAGE_REJECTED, Event, source_uri
from eaves.federation_events import KINDS
from eaves.http_client.proxies import parse_proxies
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import PATH, StoreRoute
from eaves.link.client import LINK_PAUSES, LinkClient
from eaves.link.process import CONTEXT, MAX_ENTRIES, build_sender, running, start, wait_for_stop
from eaves.link.sender import LinkSender
from eaves.link.settings import (
    ALARMS,
    ARCHIVE,
    BROKER,
    CLASSES,
    FEDERATION,
    FROM_BROKER,
    IMAGES,
    LINK,
    RelaySettings,
)
from eaves.options import report_errors, settings_options
from eaves.spool import LedgerLimits, PutOutcome, Puts, Selection, Spool, WhenFull
from eaves.spool.admin import dead_letter_lane, measure, redrive

BROKER_TIMEOUT_S = 60.0
"""Time that the site's own Broker may take to acknowledge one event, seconds."""
CONFLICT = "an event with the same source and id but other content was received before"
CONFLICT_STATUS = 409
FOREIGN_STATUS = 403
FORMER_SITE = "the event has the former name of this site; give the relay this name and its token again, or delete it"
"""Reason of dead letters from before the site's name changed."""

NO_BROKER = "the relay sends no copies to a Broker of the site; when it does again, this copy is sent"
"""Reason of dead letters that were copies for the Broker when this was switched off."""

_log = logging.getLogger(__name__)


@click.command(context_settings=CONTEXT)
@settings_options(RelaySettings)
def main(**options: Any) -> None:
    """Take events over HTTP, store them, and forward them to a receiver in the cloud when the link is up."""
    settings = start(RelaySettings, options)
    proxies = parse_proxies(os.environ)
    link = LinkClient(settings.to, settings.credentials, ca_certs_pem=settings.ca_certs, proxies=proxies)
    ledger = LedgerLimits(max_entries=settings.ledger_max_entries, ignored_lanes=(BROKER,))
    with (
        Spool(settings.spool, limits=settings.limits(entries=MAX_ENTRIES), ledger=ledger) as spool,
        SinkClient(connections=1, ca_certs_pem=settings.ca_certs, proxies=proxies) as client,
    ):
        set_apart_former_site(spool, settings.site)
        sender = LinkSender(link, site=settings.site, rate_bytes=settings.rate_bytes)
        forwarder = Deliverer(
            spool,
            CLASSES,
            sender,
            backoff=LINK_PAUSES,
            newest_first=settings.newest_first,
            leases=[spool.lease(LINK)],
        )
        deliverers = {"the forwarder": forwarder}
        if not settings.to_broker:
            dead_letter_lane(spool, BROKER, NO_BROKER)
        else:
            redrive(spool, Selection(lane=BROKER, reason=NO_BROKER))
            to_broker = build_sender(client, settings.broker, timeout_s=BROKER_TIMEOUT_S)
            leases = [spool.lease(BROKER)]
            deliverers[f"lane {BROKER}"] = Deliverer(spool, BROKER, to_broker, backoff=UNLIMITED, leases=leases)
        report = partial(report_link, spool, forwarder, sender, link.to)
        with running(settings, spool, build_server(settings, spool), deliverers, link=report):
            wait_for_stop()
        link.close()


def build_server(settings: RelaySettings, spool: Spool) -> IngressServer:
    """Build the server that takes events over HTTP and answers once they are on disk."""
    intake, largest = RelayIntake(settings, spool), settings.max_bytes
    routes = {
        PATH: StoreRoute(intake.store, max_bytes=largest),
        FROM_BROKER: StoreRoute(partial(intake.store, from_broker=True), max_bytes=largest, path=FROM_BROKER),
    }
    return IngressServer(
        lambda request: routes.get(request.path, routes[PATH])(request),
        host=settings.host,
        port=settings.port,
        limits=IngressLimits(max_bytes=largest, in_flight_bytes=settings.in_flight_bytes, programs_only=True),
        name="relay",
    )


def report_link(spool: Spool, forwarder: Deliverer, sender: LinkSender, to: str) -> LinkReport:
    """Return the report on the link to the receiver at the address `to`."""
    view, counts = forwarder.view(), sender.counts
    lanes = [lane for lane in spool.lanes() if lane.lane in CLASSES]
    oldest_at = min((lane.oldest_at for lane in lanes if lane.oldest_at is not None), default=None)
    backlog_bytes = sum(lane.queued_bytes for lane in lanes)
    events_per_s, stored_per_s, wire_per_s = sender.throughput.rates() or (None, None, None)
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
        oldest_age_s=None if oldest_at is None else max(0.0, spool.clock.now() - oldest_at),
        drain_s=backlog_bytes / stored_per_s if stored_per_s else None,
        forwarded=counts.forwarded,
        repeated=counts.repeated,
        refused=sum(forwarder.status(lane).attempts.get(DeliveryOutcome.DEAD.value, 0) for lane in CLASSES),
        failed=counts.failed,
        bytes_sent=counts.bytes_sent,
        conflicting=spool.ledger.counts().conflicts if spool.ledger is not None else 0,
    )


class RelayIntake:
    """Stores incoming events in the lanes of the spool. Safe to use from many threads."""

    def __init__(self, settings: RelaySettings, spool: Spool) -> None:
        self._spool = spool
        self._site = settings.site
        self._alarms = settings.alarm_rules()
        self._keeps_images = settings.images == "all"
        self._broker = (BROKER,) if settings.to_broker else ()

    def store(self, events: Iterable[Event], *, from_broker: bool = False) -> None:
        """Store events once; all of them are on disk when this returns.

        An event with the source and id of a different, earlier event becomes a dead letter, because the receiver would
        refuse it and this may be its only copy. It comes, for example, from a sensor that restarts its numbering. An
        event of another site becomes a dead letter too.

        Raises:
            SpoolFullError: When the spool has no room; the sender keeps all of the events.
            SpoolError: When the spool can't be written; the sender keeps all of the events.
        """
        prefix = source_uri(self._site, "")
        own: list[tuple[Event, tuple[str, ...]]] = []
        foreign: list[tuple[Event, tuple[str, ...]]] = []
        for put in (put for event in events for put in self.sort(event, from_broker=from_broker)):
            source = put[0].source
            (own if source.startswith(prefix) and source != prefix else foreign).append(put)
        if foreign:
            reason = f"the source of an event from site {self._site} must begin with {prefix}"
            self._keep_dead(foreign, reason, FOREIGN_STATUS)
        outcomes = self._spool.put_many(own, once=True) if own else ()
        conflicting = [put for put, outcome in zip(own, outcomes, strict=True) if outcome is PutOutcome.CONFLICTING]
        if conflicting:
            self._keep_dead(conflicting, CONFLICT, CONFLICT_STATUS)

    def _keep_dead(self, puts: Puts, reason: str, status: int) -> None:
        self._spool.put_dead([(event, lanes[0]) for event, lanes in puts], reason, status)
        for event, _ in puts:
            text = "kept event %s of %s as a dead letter: %s"
            about = {"event_id": event.id, "source": event.source}
            _log.warning(text, event.id[:64], event.source[:128], reason, extra=about)

    def sort(self, event: Event, *, from_broker: bool = False) -> Puts:
        """Return the events that are stored for one event, each with its lanes.

        An event from the site's own Broker gets no copy for the Broker, as the Broker's subscribers would get every
        event twice.

        A dead letter is stored as an event that gives the reason for the dead letter. Its image is stored too where
        images are forwarded. A dead letter that is no image goes to the archive too, because this may be the only copy.
        """
        original = strip(event)
        if not is_dead_letter(event):
            return self._place(original, () if from_broker else self._broker)
        if original.type == IMAGE_REJECTED:  # a subscriber refused the rejection, which is forwarded without another
            return [(original, (ARCHIVE,))]
        own = self._place(original, ()) if original.is_image else [(original, (ARCHIVE,))]
        return [*self._place(build_rejection(event, self._site), self._broker), *own]

    def _place(self, event: Event, copies: tuple[str, ...]) -> Puts:
        if event.is_image:
            return [(event, (IMAGES,))] if self._keeps_images else []
        if event.type in KINDS:  # megabytes, which no other program can use
            return [(event, (FEDERATION,))]
        attributes = event.attributes() if self._alarms else {}
        is_alarm = any(rule.items() <= attributes.items() for rule in self._alarms)
        return [(event, (ALARMS if is_alarm else ARCHIVE, *copies))]


def set_apart_former_site(spool: Spool, site: str) -> None:
    """Make dead letters of entries for the link whose events have the site's former name, and queue those of `site`.

    The receiver takes only events of the site that it knows the relay as. When the site gets its former name back, its
    events are queued again.

    Raises:
        ConfigError: When the oldest of them would expire, because the budget of dead letters is too small.
        SpoolError: When the spool can't be written.
    """
    prefix, limits, kept = source_uri(site, ""), spool.limits, spool.dead_bytes()
    if limits.dead_when_full is WhenFull.EXPIRE and kept + spool.size_bytes() > limits.dead_max_bytes:
        waiting = [measure(spool, Selection(lane=lane, state="queued", outside=prefix)) for lane in CLASSES]
        count, size_bytes = (sum(column) for column in zip(*waiting, strict=True))
        if count and kept + size_bytes > limits.dead_max_bytes:
            message = (
                f"{count} events ({size_bytes} bytes) of the site's former name wait, more than dead letters may have"
            )
            hint = "give the relay its former name until they are delivered; or raise spool_dead_max_bytes"
            raise ConfigError.single("settings", "site", message, hint=hint)
    for lane in CLASSES:
        count = dead_letter_lane(spool, lane, FORMER_SITE, outside=prefix)
        if count:
            _log.warning("queue %s: %s; %d events are kept as dead letters", lane, FORMER_SITE, count)
        redrive(spool, Selection(lane=lane, reason=FORMER_SITE, prefix=prefix))


if __name__ == "__main__":
    report_errors(main)
