"""Entry point of the receiver, the cloud's end of the link: `python -P -m eaves.link.receiver`.

Each site authenticates itself with a token or a client certificate. Its events are stored in a spool, once for each
source and id, and delivered to a sink or written into a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import click

from eaves.admin.report import HEALTH, METRICS
from eaves.admin.server import Answer as AdminAnswer
from eaves.base.backoff import UNLIMITED
from eaves.delivery import Deliverer, Sender, SinkClient
from eaves.http_client.proxies import Proxies, parse_proxies
from eaves.ingress import IngressLimits, IngressServer, Response, ServerTls, answer_json
from eaves.link.archive import Archive
from eaves.link.process import CONTEXT, MAX_ENTRIES, build_sender, running, start, wait_for_stop
from eaves.link.receiver_routes import LANE, ReceiverRoutes
from eaves.link.settings import ReceiverSettings
from eaves.link.sites import SiteCounters, Sites
from eaves.options import report_errors, settings_options
from eaves.redact import redact
from eaves.resource_limits import return_freed_memory
from eaves.spool import Lease, LedgerLimits, Spool

HANDSHAKES = "eaves_receiver_failed_handshakes_total"


@click.command(context_settings=CONTEXT)
@settings_options(ReceiverSettings)
def main(**options: Any) -> None:
    """Take events of sites over HTTPS and pass them on to a sink, or write them into a folder."""
    settings = start(ReceiverSettings, options)
    with serving(settings, parse_proxies(os.environ)):
        wait_for_stop()


@contextmanager
def serving(settings: ReceiverSettings, proxies: Proxies) -> Iterator[IngressServer]:
    """Run the receiver until the `with` block ends.

    Args:
        settings: Settings of the receiver.
        proxies: Proxies of the process, used for the sink and the functions.

    Raises:
        ConfigError: When the receiver can't listen on the address, or a certificate or the sites can't be read.
        SpoolError: When the spool can't be opened.
        StorageError: When the folder for received events (`settings.folder`) can't be written.
    """
    return_freed_memory()
    tls = ServerTls(settings.credentials) if settings.credentials else None
    sites, counters = Sites(settings.sites), SiteCounters()
    client = SinkClient(ca_certs_pem=settings.ca_certs, proxies=proxies)
    sender: Sender = build_sender(client, settings.sink, timeout_s=settings.timeout_s, parallel=settings.parallel)
    if settings.folder:
        sender = Archive(settings.folder, settings.dataset)
    ledger = LedgerLimits(max_entries=settings.ledger_max_entries)
    with Spool(settings.spool, limits=settings.limits(entries=MAX_ENTRIES), ledger=ledger) as spool, client:
        folders = [Lease(settings.folder / ".lease")] if settings.folder else []
        delivery = Deliverer(spool, LANE, sender, backoff=UNLIMITED, leases=[spool.lease(LANE), *folders])
        server = IngressServer(
            ReceiverRoutes(settings, sites, spool, client, counters, delivery.is_alive),
            host=settings.host,
            port=settings.port,
            limits=IngressLimits(
                max_bytes=settings.max_bytes,
                in_flight_bytes=settings.in_flight_bytes,
                connections=settings.connections,
                idle_s=settings.idle_s,
            ),
            tls=tls,
        )

        def describe() -> Mapping[str, Any]:
            return {
                "received": counters.to_dict(),
                "contacts": {**dict.fromkeys(sites.names()), **counters.contacts()},
                "shared_tokens": sites.shared_tokens(),
                "target": redact(str(settings.sink or settings.folder or "")),
                "failed_handshakes": server.failed_handshakes,
            }

        def render() -> str:
            return f"{counters.render_metrics()}# TYPE {HANDSHAKES} counter\n{HANDSHAKES} {server.failed_handshakes}\n"

        with running(settings, spool, server, {f"lane {LANE}": delivery}, around=partial(_extend, describe, render)):
            yield server


def _extend(describe: Callable[[], Mapping[str, Any]], render: Callable[[], str], answer: AdminAnswer) -> AdminAnswer:
    """Return an `answer` that adds to health what `describe` returns, and to the metrics what `render` does."""

    def answer_with(method: str, path: str, query: str) -> Response:
        response = answer(method, path, query)
        if path == METRICS and response.status == 200:
            return replace(response, body=response.body + render().encode())
        if path == HEALTH and response.headers["Content-Type"] == "application/json":
            return answer_json({**json.loads(response.body), **describe()}, response.status)
        return response

    return answer_with


if __name__ == "__main__":
    report_errors(main)
