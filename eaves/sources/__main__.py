"""Entry point of an agent process, the command of its container image: `python -P -m eaves.sources`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click

from eaves import logs
from eaves.admin.server import open_endpoints
from eaves.delivery import Deliverer, SinkClient
from eaves.events import Event
from eaves.http_client.proxies import parse_proxies
from eaves.link.client import CredentialedClient
from eaves.options import build_settings, report_errors, settings_options
from eaves.resource_limits import return_freed_memory
from eaves.sources.agent.configuration import (
    count_remembered,
    load_agent_id,
    parse_overrides,
    parse_sources,
)
from eaves.sources.agent.deliverers import build_deliverers, choose_lanes, open_buckets
from eaves.sources.agent.supervision import STOP_S, SupervisedSource, build_source, stop_sources
from eaves.sources.settings import AgentSettings
from eaves.spool import Spool

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(AgentSettings)
def main(**options: Any) -> None:
    """Run sources of images and deliver each image as a CloudEvent, however long the link is down."""
    # All threads inherit the mask, so the signals stay pending until `sigwait` takes one. No handler runs, because one
    # that sets an Event deadlocks when it interrupts the thread that holds the Event's lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    settings = build_settings(AgentSettings, options)
    logs.configure(as_json=settings.log_json)
    return_freed_memory()
    overrides = parse_overrides(settings.overrides)
    configured = parse_sources(settings)
    proxies = parse_proxies(os.environ)
    client = SinkClient(ca_certs_pem=settings.ca_certs, proxies=proxies)
    limits = settings.limits(remembered=count_remembered(configured))
    with Spool(settings.spool, limits=limits) as spool, client, ExitStack() as stack:
        agent_id = load_agent_id(settings.spool)
        buckets = open_buckets(configured, settings, proxies)

        def store(event: Event) -> bool:
            lanes = choose_lanes(settings, buckets, event)
            return spool.put(event.with_extensions(**overrides), lanes=lanes, once=True)

        given: dict[str, Any] = {
            "node": settings.node,
            "spool_max_bytes": settings.spool_max_bytes,
            "agent_id": agent_id,
        }
        sources = [
            build_source(one, site=settings.site, index=spool, store=store, proxies=proxies, **given)
            for one in configured
        ]
        function_client = None
        if folder := settings.function_credentials:
            function_client = CredentialedClient(
                folder, connections=settings.parallel, ca_certs_pem=settings.ca_certs, proxies=proxies
            )
        deliverers = build_deliverers(settings, spool, client, overrides, function_client, buckets)
        for deliverer in deliverers:
            deliverer.start()
        for source in sources:
            source.start()
        parts = {f"source {source.context.name}": source.is_alive for source in sources}
        parts |= {f"lane {one.lanes[0]}": one.is_alive for one in deliverers}
        stack.enter_context(
            open_endpoints(
                spool,
                deliverers,
                sources=lambda: [source.report() for source in sources],
                parts=parts,
                socket=settings.admin_socket,
                host=settings.host,
                port=settings.port,
            )
        )
        try:
            signal.sigwait(STOP_SIGNALS)
        finally:
            stop(sources, deliverers)


def stop(sources: Sequence[SupervisedSource], deliverers: Sequence[Deliverer]) -> None:
    """Stop all sources and deliveries in parallel, within `STOP_S` seconds.

    A delivery that takes longer is repeated after the next start.
    """
    stopping = [threading.Thread(target=deliverer.stop, args=(STOP_S,), daemon=True) for deliverer in deliverers]
    for thread in stopping:
        thread.start()
    stop_sources(sources)
    for thread in stopping:
        thread.join(STOP_S)


if __name__ == "__main__":
    report_errors(main)
