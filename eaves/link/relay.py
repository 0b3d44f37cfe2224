"""Entry point of the relay, which stores a site's events and forwards them: `python -P -m eaves.link.relay`.

The relay takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own
durable queue. One thread forwards them to a receiver over one kept connection, the most urgent lane first, and releases
exactly those events that the receiver's answer accounts for. The relay runs in the agent's container image, and its
queue is administered like an agent's.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from eaves.admin.report import LinkReport
from eaves.base.backoff import UNLIMITED
from eaves.delivery import Deliverer, DeliveryOutcome, SinkClient
from eaves.delivery.sink_state import SinkStatus
from eaves.http_client.proxies import parse_proxies
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import PATH, StoreRoute
from eaves.link.client import LINK_PAUSES, LinkClient
from eaves.link.process import CONTEXT, MAX_ENTRIES, build_sender, running, start, wait_for_stop
from eaves.link.relay_intake import BROKER, CLASSES, FROM_BROKER, RelayIntake, set_apart_former_site
from eaves.link.sender import LinkSender
from eaves.link.settings import RelaySettings
from eaves.options import report_errors, settings_options
from eaves.spool import LedgerLimits, Spool

BROKER_TIMEOUT_S = 60.0
"""Time that the site's own Broker may take to acknowledge one event, seconds."""
LINK = "link"
"""Name of the lease that the deliverer holds on the link."""


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
        if settings.to_broker:
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


if __name__ == "__main__":
    report_errors(main)
