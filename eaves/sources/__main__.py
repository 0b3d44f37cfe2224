"""`python -P -m eaves.sources`: one agent process, the command of its container image."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

import click

from eaves import logs
from eaves.backoff import Backoff
from eaves.delivery import Answer, Deliverer, SinkClient
from eaves.events import Event
from eaves.http_client.proxies import parse_proxies
from eaves.options import build_settings, report_errors, settings_options
from eaves.sources.folder import FolderSource
from eaves.sources.overrides import parse_overrides
from eaves.sources.settings import AgentSettings
from eaves.spool import Entry, Puts, Spool

IMAGES, REPLIES = "sink", "replies"
"""Lanes of the spool: images, wherever they go; predictions on their way to the sink."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(AgentSettings)
def main(**options: Any) -> None:
    """Watch a source of images and deliver each as a CloudEvent, however long the link is down."""
    settings = build_settings(AgentSettings, options)
    logs.configure(as_json=settings.log_json)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    overrides = parse_overrides(settings.overrides)
    sink = SinkClient(ca_certs_pem=settings.ca_certs, proxies=parse_proxies(os.environ))
    with Spool(settings.spool, max_bytes=settings.spool_max_bytes) as spool, sink as client:
        source = FolderSource(
            settings,
            known=spool.seen,
            emit=lambda event: spool.put(event.with_extensions(**overrides), lanes=(IMAGES,), once=True),
        )
        deliverers = build_deliverers(settings, spool, client, overrides)
        for deliverer in deliverers:
            deliverer.start()
        logging.getLogger("eaves.sources").info("watching %s", settings.path)
        try:
            source.run(stop)
        finally:
            for deliverer in deliverers:
                deliverer.stop()


def build_deliverers(
    settings: AgentSettings, spool: Spool, client: SinkClient, overrides: Mapping[str, str]
) -> list[Deliverer]:
    """What empties the spool: images to the function, whose predictions go to the sink; without one, images there.

    An image is released in the commit that stores its prediction, so neither a link nor a broker that is down loses it.
    """

    def to_sink(event: Event) -> Answer:
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
        lease=spool.lease(IMAGES),
    )
    replies = Deliverer(spool, REPLIES, to_sink, backoff=patience, lease=spool.lease(REPLIES))
    return [images, replies]


if __name__ == "__main__":
    report_errors(main)
