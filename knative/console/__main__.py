"""Entry point of a site's console, which serves its pages inside the cluster: `python -P -m knative.console`."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click

from eaves import logs
from eaves.base.allocator import return_freed_memory
from eaves.base.clock import SYSTEM
from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings, check_exposure
from eaves.console.thumbnails import Gallery
from eaves.delivery import SinkClient, SinkResponse
from eaves.events import Event
from eaves.history import FileHistory, HistoryReader
from eaves.history.recent_images import RecentImages
from eaves.http_client.proxies import parse_proxies
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute
from eaves.options import build_settings, report_errors, settings_options
from knative.client.cluster import Cluster
from knative.console.inside_cluster import open_inside
from knative.console.site_backend import SiteBackend
from knative.platform import KnativePlatform
from knative.resources.console import SiteConsoleSettings
from knative.settings import KnativeSettings, SiteSettings

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
HISTORY_MAX_BYTES, THUMBNAILS_MAX_BYTES = 64_000_000, 32_000_000
"""Maximum sizes of the history and of all thumbnails; the oldest are deleted."""
EVENT_MAX_BYTES = 20_000_000
FUNCTION_TIMEOUT_S = 120.0
"""Maximum seconds for a function's answer, its cold start included."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(SiteConsoleSettings)
def main(**options: Any) -> None:
    """Serve the console of the site whose cluster this process runs in."""
    # As in an agent, the signals stay pending until `sigwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return_freed_memory()
    settings = build_settings(SiteConsoleSettings, options)
    logs.configure(as_json=True)
    with ExitStack() as stack:
        client = stack.enter_context(SinkClient(connections=4, proxies=parse_proxies(os.environ)))
        open_console(settings, open_inside(), client, stack)
        signal.sigwait(STOP_SIGNALS)


def open_console(
    settings: SiteConsoleSettings, cluster: Cluster, client: SinkClient, stack: ExitStack
) -> ConsoleServer:
    """Open the ports of pages and events.

    Args:
        settings: Settings of the process.
        cluster: Connection to the site's cluster.
        client: Client for requests to functions.
        stack: Closes everything in order.

    Returns:
        The server of the pages.

    Raises:
        ConfigError: When other machines could open the pages without a password, or a port can't be used.
        StorageError: When a file can't be read or written.
    """
    pages = ConsoleSettings(
        host=settings.host,
        credentials=settings.credentials,
        state=settings.data,
        read_only=settings.read_only,
        silent_after_s=settings.silent_after_s,
    )
    check_exposure(pages, command="python -P -m knative.console")
    file = settings.data / "history.db"
    history = FileHistory(file, max_bytes=HISTORY_MAX_BYTES)
    stack.callback(history.close)
    reader = HistoryReader(file)
    recent = RecentImages()

    def take(events: Sequence[Event]) -> None:
        """Keep the events that a Trigger delivers, and their newest images."""
        for event in events:
            history.add(event)
            recent.add(event)

    def find_image(source: str, event_id: str) -> bytes | None:
        found = recent.find(source, event_id)
        return None if found is None else found.data

    images = Gallery(settings.data / "thumbnails.db", find_image, max_bytes=THUMBNAILS_MAX_BYTES)
    stack.callback(images.close)
    if settings.events_port:
        limits = IngressLimits(max_bytes=EVENT_MAX_BYTES, in_flight_bytes=2 * EVENT_MAX_BYTES, programs_only=True)
        route = StoreRoute(take, max_bytes=EVENT_MAX_BYTES)
        events = IngressServer(route, host=settings.host, port=settings.events_port, limits=limits, name="events")
        stack.callback(events.stop)
    site = SiteSettings(name=settings.site or cluster.namespace)
    platform = KnativePlatform(cluster, KnativeSettings(agent_namespace=""), site, by="console")

    def send(function: str, event: Event) -> SinkResponse:
        address = platform.find_address(function)
        return client.post(address, event, prefer_reply=True, timeout_s=FUNCTION_TIMEOUT_S)

    backend = SiteBackend(
        platform,
        send=send,
        title=settings.site or f"namespace {cluster.namespace}",
        records=reader,
        images=images,
    )
    oldest = reader.next(after=0, limit=1)  # of an earlier container of the same pod
    pages = replace(pages, site_since=oldest[0].at if oldest else SYSTEM.now())
    app = create_app(ConsoleContext(backend=backend, settings=pages))
    server = ConsoleServer(app, host=settings.host, port=settings.port, tls=pages.build_tls())
    stack.callback(server.stop)
    return server


if __name__ == "__main__":
    report_errors(main)
