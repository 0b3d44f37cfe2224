"""Entry point of an agent process, the command of its container image: `python -P -m eaves.sources`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

from eaves import logs
from eaves.admin.server import open_endpoints
from eaves.delivery import Deliverer, SinkClient
from eaves.events import Event
from eaves.http_client.proxies import DIRECT, Proxies, parse_proxies
from eaves.link.client import CredentialedClient
from eaves.options import build_settings, report_errors, settings_options
from eaves.resource_limits import return_freed_memory
from eaves.sources.agent.configuration import (
    ConfiguredSource,
    count_remembered,
    load_agent_id,
    parse_overrides,
    parse_sources,
)
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.deliverers import ClaimBucket, build_deliverers, choose_lanes, open_buckets
from eaves.sources.agent.supervision import STOP_S, SupervisedSource, stop_sources
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
        sources = [build_source(one, settings, spool, overrides, buckets, proxies, agent_id) for one in configured]
        function_client = build_function_client(settings, proxies)
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


def build_function_client(settings: AgentSettings, proxies: Proxies) -> CredentialedClient | None:
    """Build the HTTP client for a function that requires credentials; None when the function doesn't require any."""
    folder = settings.function_credentials
    if folder is None:
        return None
    return CredentialedClient(
        folder,
        connections=settings.parallel,
        ca_certs_pem=settings.ca_certs,
        proxies=proxies,
    )


def build_source(
    configured: ConfiguredSource,
    settings: AgentSettings,
    spool: Spool,
    overrides: Mapping[str, str],
    buckets: Mapping[str, ClaimBucket],
    proxies: Proxies = DIRECT,
    agent_id: str | None = None,
) -> SupervisedSource:
    """Build one source that puts its images into the spool."""

    def store(event: Event) -> bool:
        return spool.put(event.with_extensions(**overrides), lanes=choose_lanes(settings, buckets, event), once=True)

    context = AgentContext(
        configured.common.name,
        site=settings.site,
        node=settings.node,
        index=spool,
        store=store,
        max_bytes=configured.common.max_bytes,
        spool_max_bytes=settings.spool_max_bytes,
        credentials=configured.common.credentials,
        proxies=proxies,
        options=configured.options,
        agent_id=agent_id,
    )
    return SupervisedSource(partial(configured.kind.run, configured.settings), context)


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
