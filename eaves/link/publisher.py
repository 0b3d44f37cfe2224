"""Publishes one trigger's events to its sink, such as an MQTT broker: `python -P -m eaves.link.publisher`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from eaves.base.backoff import UNLIMITED
from eaves.delivery import Deliverer, EventSender
from eaves.delivery.sinks import SinkTarget, load_sink
from eaves.events import Event
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute
from eaves.link.process import CONTEXT, STOP_S, running, start, wait_for_stop
from eaves.link.settings import PublisherSettings
from eaves.options import report_errors, settings_options
from eaves.spool import Spool

LANE = "sink"
"""Only lane of the spool. An agent's lane has the same name, so `python -m eaves.sources.queue` manages both."""
PARALLEL, TIMEOUT_S = 4, 20.0
"""Maximum number of events that wait for the sink's acknowledgement at once, and how long each may, seconds."""


@click.command(context_settings=CONTEXT)
@settings_options(PublisherSettings)
def main(**options: Any) -> None:
    """Take events over HTTP and give them to the sink, however long it is away."""
    settings = start(PublisherSettings, options)
    with Spool(settings.spool, limits=settings.limits()) as spool:
        target = SinkTarget(url=settings.url, settings=settings.mqtt, site=settings.site, app=settings.app)
        sink = load_sink(settings.url)(target)
        sender = EventSender(partial(sink.send, timeout_s=TIMEOUT_S), parallel=PARALLEL)
        deliverer = Deliverer(spool, LANE, sender, backoff=UNLIMITED, leases=[spool.lease(LANE)])
        server = IngressServer(
            StoreRoute(partial(_store, spool), max_bytes=settings.max_bytes, batches=False),
            host=settings.host,
            port=settings.port,
            limits=IngressLimits(
                max_bytes=settings.max_bytes,
                in_flight_bytes=settings.in_flight_bytes,
                keep_alive=False,
                programs_only=True,
            ),
        )
        with running(settings, spool, server, {f"lane {LANE}": deliverer}, parts={"the connection": sink.is_alive}):
            wait_for_stop()
        sink.close(grace_s=0)
        deliverer.stop(STOP_S)


def _store(spool: Spool, events: Sequence[Event]) -> None:
    for event in events:
        spool.put(event, lanes=(LANE,), once=True)


if __name__ == "__main__":
    report_errors(main)
