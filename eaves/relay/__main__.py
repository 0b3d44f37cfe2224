"""Entry point of the relay, which stores a site's events and forwards them: `python -P -m eaves.relay`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

from eaves import logs
from eaves.admin.server import open_endpoints
from eaves.base.allocator import return_freed_memory
from eaves.base.backoff import UNLIMITED, Backoff
from eaves.delivery import Deliverer, EventSender, SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.http_client.proxies import Proxies, parse_proxies
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import PATH, StoreRoute
from eaves.link.client import LinkClient
from eaves.options import build_settings, report_errors, settings_options
from eaves.relay.intake import RelayIntake, set_apart_former_site, store
from eaves.relay.link_report import build_reporter
from eaves.relay.link_sender import LinkSender
from eaves.relay.relay_lanes import BROKER, CLASSES, FROM_BROKER
from eaves.relay.settings import RelaySettings
from eaves.spool import Spool

NO_BROKER = (
    "the address of the site's Broker is unknown: K_SINK is not set, so the SinkBinding is missing or finds no Broker"
)
LINK_PAUSES = Backoff(retry=None, first_s=0.5, cap_s=4.0)
"""Pauses between attempts while the link is down. A link that is up for 10 s of every 30 must be found soon, and an
attempt costs some hundred bytes."""
LINK = "link"
"""Name of the lease that the deliverer holds on the link."""
STOP_S = 1.4
"""Time that requests and deliveries in progress have to finish at shutdown, seconds."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(RelaySettings)
def main(**options: Any) -> None:
    """Take events over HTTP, store them, and forward them to a receiver in the cloud when the link is up."""
    # As in an agent, the signals stay pending until `sigwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return_freed_memory()
    settings = build_settings(RelaySettings, options)
    logs.configure(as_json=settings.log_json)
    proxies = parse_proxies(os.environ)
    link = LinkClient(settings.to, settings.credentials, ca_certs_pem=settings.ca_certs, proxies=proxies)
    with (
        Spool(settings.spool, limits=settings.limits(), ledger=settings.ledger_limits()) as spool,
        build_broker_client(settings, proxies) as client,
        ExitStack() as stack,
    ):
        set_apart_former_site(spool, settings.site)
        sender = LinkSender(link, site=settings.site, rate_bytes=settings.rate_bytes, probe_s=settings.probe_s)
        forwarder = build_forwarder(settings, spool, sender)
        deliverers = build_broker_deliverers(settings, spool, client)
        server = build_server(settings, spool)
        forwarder.start()
        for deliverer in deliverers:
            deliverer.start()
        parts = {"the HTTP server": server.is_alive, "the forwarder": forwarder.is_alive}
        parts |= {f"lane {BROKER}": one.is_alive for one in deliverers}
        stack.enter_context(
            open_endpoints(
                spool,
                [forwarder, *deliverers],
                link=build_reporter(spool, forwarder, sender, link.to),
                parts=parts,
                socket=settings.admin_socket,
                host=settings.host,
                port=settings.health_port,
            )
        )
        try:
            signal.sigwait(STOP_SIGNALS)
        finally:
            server.stop()
            stop_all([forwarder.stop, *(one.stop for one in deliverers)])
            link.close()


def build_forwarder(settings: RelaySettings, spool: Spool, sender: LinkSender) -> Deliverer:
    """Build the deliverer that sends the entries of the spool's lanes over the link, alarms first."""
    return Deliverer(
        spool,
        CLASSES,
        sender,
        backoff=LINK_PAUSES,
        newest_first=settings.newest_first,
        leases=[spool.lease(LINK)],
    )


def build_broker_client(settings: RelaySettings, proxies: Proxies) -> SinkClient:
    """Build the HTTP client for the site's own Broker."""
    return SinkClient(connections=1, ca_certs_pem=settings.ca_certs, proxies=proxies)


def build_broker_deliverers(settings: RelaySettings, spool: Spool, client: SinkClient) -> list[Deliverer]:
    """Build the deliverers that copy events to the site's own Broker; none when no copies are wanted."""
    if not settings.to_broker:
        return []

    def send(event: Event) -> SinkResponse:
        if not settings.broker:
            raise UnreachableError(NO_BROKER, hint="check: kubectl get brokers,sinkbindings")
        return client.post(settings.broker, event, prefer_reply=False, timeout_s=settings.timeout_s)

    return [Deliverer(spool, BROKER, EventSender(send), backoff=UNLIMITED, leases=[spool.lease(BROKER)])]


def build_server(settings: RelaySettings, spool: Spool) -> IngressServer:
    """Build the server that takes events over HTTP and answers once they are on disk."""
    intake = RelayIntake(
        site=settings.site,
        alarms=settings.alarm_rules(),
        keep_images=settings.images == "all",
        to_broker=settings.to_broker,
    )

    def take(events: Sequence[Event], *, from_broker: bool) -> None:
        if puts := [put for event in events for put in intake.sort(event, from_broker=from_broker)]:
            store(spool, puts, settings.site)

    routes = {
        path: StoreRoute(partial(take, from_broker=path == FROM_BROKER), max_bytes=settings.max_bytes, path=path)
        for path in (PATH, FROM_BROKER)
    }
    return IngressServer(
        lambda request: routes.get(request.path, routes[PATH])(request),
        host=settings.host,
        port=settings.port,
        limits=IngressLimits(
            max_bytes=settings.max_bytes, in_flight_bytes=settings.in_flight_bytes, programs_only=True
        ),
        name="relay",
    )


def stop_all(stops: Sequence[Callable[[float], bool]]) -> None:
    """Call all `stops` in parallel with the time limit `STOP_S`.

    Work that isn't finished is repeated after the next start.
    """
    threads = [threading.Thread(target=stop, args=(STOP_S,), daemon=True) for stop in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STOP_S)


if __name__ == "__main__":
    report_errors(main)
