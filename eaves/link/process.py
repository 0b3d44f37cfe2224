"""What the processes relay, receiver and publisher have in common: a server fills a queue, and deliverers empty it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from eaves import logs
from eaves.admin.server import open_endpoints
from eaves.delivery import Deliverer, EventSender, SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.ingress import IngressServer
from eaves.link.settings import QueueSettings
from eaves.options import build_settings
from eaves.resource_limits import return_freed_memory
from eaves.spool import Spool

Settings = TypeVar("Settings", bound=QueueSettings)

CONTEXT = {"help_option_names": ["-h", "--help"]}
NO_SINK = "the address that events go to is unknown: no sink or folder is set, and K_SINK is not set by a SinkBinding"
STOP_S = 1.4
"""Time that deliveries in progress have to finish at shutdown, seconds. What isn't finished is repeated after the next
start."""
MAX_ENTRIES = 2_000_000
"""Maximum number of events that wait, copies for the Broker included."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def start(cls: type[Settings], options: Mapping[str, Any]) -> Settings:
    """Prepare a process that ends by `wait_for_stop`, and return its settings."""
    # As in an agent, the signals stay pending until `sigwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return_freed_memory()
    settings = build_settings(cls, options)
    logs.configure(as_json=settings.log_json)
    return settings


def wait_for_stop() -> None:
    """Wait until the process gets a stop signal."""
    signal.sigwait(STOP_SIGNALS)


@contextmanager
def running(
    settings: QueueSettings,
    spool: Spool,
    server: IngressServer,
    deliverers: Mapping[str, Deliverer],
    *,
    parts: Mapping[str, Callable[[], bool]] | None = None,
    **endpoints: Any,
) -> Iterator[None]:
    """Deliver what the server stores, and answer administrators, while the block runs; then stop server and deliveries.

    Args:
        settings: Settings of the process.
        spool: Queue of the process.
        server: Server that fills the queue.
        deliverers: Deliverers of the queue by name.
        parts: Further essential parts by name, each with a function that returns whether it still runs.
        endpoints: Further arguments of `open_endpoints`.
    """
    alive = {"the HTTP server": server.is_alive, **{name: one.is_alive for name, one in deliverers.items()}}
    try:
        for deliverer in deliverers.values():
            deliverer.start()
        with open_endpoints(
            spool,
            list(deliverers.values()),
            parts={**alive, **(parts or {})},
            socket=settings.admin_socket,
            host=settings.host,
            port=settings.health_port,
            **endpoints,
        ):
            yield
    finally:
        server.stop()
        for deliverer in deliverers.values():
            deliverer.stop(STOP_S)


def build_sender(client: SinkClient, address: str, *, timeout_s: float, parallel: int = 1) -> EventSender:
    """Build the sender of events to an HTTP address, which may be unknown until a SinkBinding has found it."""

    def send(event: Event) -> SinkResponse:
        if not address:
            raise UnreachableError(NO_SINK, hint="on a cluster, check: kubectl get brokers,sinkbindings")
        return client.post(address, event, prefer_reply=False, timeout_s=timeout_s)

    return EventSender(send, parallel=parallel, abort=client.abort)
