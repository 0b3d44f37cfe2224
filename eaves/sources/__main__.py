"""`python -P -m eaves.sources`: one agent process, the command of its container image."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import click

from eaves import logs
from eaves.backoff import Backoff
from eaves.delivery import Answer, Deliverer, SinkClient
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.http_client.proxies import parse_proxies
from eaves.options import build_settings, report_errors, settings_options
from eaves.sources.admin import open_admin
from eaves.sources.folder import FolderSource
from eaves.sources.lanes import IMAGES, REPLIES
from eaves.sources.overrides import parse_overrides
from eaves.sources.settings import AgentSettings
from eaves.sources.supervision import SupervisedSource
from eaves.spool import Entry, Puts, Spool

NO_SINK = "the sink isn't known: K_SINK is not set, as when the SinkBinding finds no Broker"
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(AgentSettings)
def main(**options: Any) -> None:
    """Watch a source of images and deliver each as a CloudEvent, however long the link is down."""
    # All threads inherit the mask, so that the signals stay pending until `sigwait` takes one. No handler runs: one
    # that sets an Event deadlocks when it interrupts the thread that holds the Event's lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    settings = build_settings(AgentSettings, options)
    logs.configure(as_json=settings.log_json)
    overrides = parse_overrides(settings.overrides)
    client = SinkClient(ca_certs_pem=settings.ca_certs, proxies=parse_proxies(os.environ))
    with Spool(settings.spool, limits=settings.limits()) as spool, client, ExitStack() as stack:
        folder = FolderSource(
            settings,
            index=spool,
            emit=lambda event: spool.put(event.with_extensions(**overrides), lanes=(IMAGES,), once=True),
        )
        source = SupervisedSource(settings.source, folder)
        deliverers = build_deliverers(settings, spool, client, overrides)
        for deliverer in deliverers:
            deliverer.start()
        source.start()
        parts = {"the source": source.is_alive, **{f"lane {one.status().lane}": one.is_alive for one in deliverers}}
        stack.enter_context(open_admin(settings, spool, deliverers, source, parts=parts))
        try:
            signal.sigwait(STOP_SIGNALS)
        finally:
            source.stop()
            for deliverer in deliverers:
                deliverer.stop()


def build_deliverers(
    settings: AgentSettings, spool: Spool, client: SinkClient, overrides: Mapping[str, str]
) -> list[Deliverer]:
    """What empties the spool: images to the function, whose predictions go to the sink; without one, images there.

    An image is released in the commit that stores its prediction, so neither a link nor a broker that is down loses it.
    """

    def to_sink(event: Event) -> Answer:
        if not settings.sink:
            raise UnreachableError(NO_SINK, hint="kubectl get brokers,sinkbindings")
        return client.post(settings.sink, event, prefer_reply=False, timeout_s=settings.timeout_s)

    def to_function(event: Event) -> Answer:
        return client.post(settings.function, event, prefer_reply=True, timeout_s=settings.timeout_s)

    def keep(_: Entry, reply: Event) -> Puts:
        return [(reply.with_extensions(**overrides), (REPLIES,))]

    patience = Backoff(retry=None, first_s=0.5, cap_s=30.0)
    images = Deliverer(
        spool,
        IMAGES,
        to_function if settings.function else to_sink,
        backoff=patience,
        parallel=settings.parallel,
        on_reply=keep if settings.function else None,
        reply_required=bool(settings.function),
        lease=spool.lease(IMAGES),
    )
    replies = Deliverer(spool, REPLIES, to_sink, backoff=patience, lease=spool.lease(REPLIES))
    return [images, replies]


if __name__ == "__main__":
    report_errors(main)
