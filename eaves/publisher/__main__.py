"""Entry point of the publisher of one trigger's events to an MQTT broker: `python -P -m eaves.publisher`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

from eaves import logs
from eaves.admin.server import open_endpoints
from eaves.base.allocator import return_freed_memory
from eaves.base.backoff import UNLIMITED
from eaves.delivery import Deliverer, EventSender
from eaves.delivery.mqtt.sink import MqttSink, build_link
from eaves.events import Event
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute
from eaves.options import build_settings, report_errors, settings_options
from eaves.publisher.settings import PublisherSettings
from eaves.spool import Spool

LANE = "sink"
"""Only lane of the spool. An agent's lane has the same name, so `python -m eaves.sources.queue` manages both."""
PARALLEL, TIMEOUT_S = 4, 20.0
"""Maximum number of events that wait for the MQTT broker's acknowledgement at once, and how long each may, seconds."""
IN_FLIGHT_BYTES = 32_000_000
"""Maximum size of all events that are received at the same time, bytes; above it the answer is 429."""
STOP_S = 1.0
"""Time that events in delivery have to finish at shutdown, seconds."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(PublisherSettings)
def main(**options: Any) -> None:
    """Take events over HTTP and publish them to an MQTT broker, however long it is away."""
    # As in an agent, the signals stay pending until `sigwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    settings = build_settings(PublisherSettings, options)
    logs.configure(as_json=True)
    return_freed_memory()
    with Spool(settings.spool, limits=settings.limits()) as spool, ExitStack() as stack:
        link = build_link(settings.url, settings.mqtt, site=settings.site, app=settings.app)
        sink = MqttSink(settings.url, settings.mqtt, link)
        deliverer = Deliverer(
            spool,
            LANE,
            EventSender(partial(sink.send, timeout_s=TIMEOUT_S), parallel=PARALLEL),
            backoff=UNLIMITED,
            leases=[spool.lease(LANE)],
        )
        receiver = IngressServer(
            StoreRoute(partial(_store, spool), max_bytes=settings.max_bytes, batches=False),
            host=settings.host,
            port=settings.port,
            limits=IngressLimits(
                max_bytes=settings.max_bytes,
                in_flight_bytes=IN_FLIGHT_BYTES,
                keep_alive=False,
                programs_only=True,
            ),
        )
        link.start()
        deliverer.start()
        parts = {"the receiver": receiver.is_alive, f"lane {LANE}": deliverer.is_alive, "the connection": link.is_alive}
        stack.enter_context(
            open_endpoints(
                spool,
                [deliverer],
                parts=parts,
                socket=None,
                host=settings.host,
                port=settings.health_port,
            )
        )
        try:
            signal.sigwait(STOP_SIGNALS)
        finally:
            receiver.stop()
            deliverer.stop(STOP_S)
            link.close(grace_s=0)
            deliverer.stop(STOP_S)


def _store(spool: Spool, events: Sequence[Event]) -> None:
    for event in events:
        spool.put(event, lanes=(LANE,), once=True)


if __name__ == "__main__":
    report_errors(main)
