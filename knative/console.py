"""The console of a site: `python -P -m knative.console` serves the pages of `eaves.console` inside the cluster.

Status and changes go through the API server, events come from the console's own history. Agents are read at the
addresses of their pods, so that the console needs no right to reach other pods.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.admin import Queue
from eaves.base.clock import SYSTEM, Clock
from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import CachedAnswer, ConsoleContext, Images
from eaves.console.exposure import ConsoleSettings, check_exposure
from eaves.console.thumbnails import Gallery
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import AbsentError, ClusterError, DeliveryError, NotFoundError, UnreachableClusterError
from eaves.events import Event
from eaves.history import FileHistory, HistoryReader, Records
from eaves.history.recent_images import RecentImages
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.http_client.explain import explain
from eaves.http_client.proxies import parse_proxies
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute
from eaves.options import build_settings, report_errors, settings_options
from eaves.platform import FunctionStatus
from eaves.resource_limits import return_freed_memory
from knative.client.cluster import Cluster, open_inside
from knative.client.kinds import POD
from knative.platform import KnativePlatform
from knative.resources.standalone_servers import SiteConsoleSettings
from knative.settings import KnativeSettings, SiteSettings

MAX_BYTES = 4_000_000
"""Maximum size of a pod's answer, bytes; a report on a queue has some kilobytes."""


class InsideCluster(Cluster):
    """A connection that reaches pods at their addresses, so that it needs no right to forward ports.

    Any program in a pod can do this, unless a NetworkPolicy forbids it. The policies of Eaves admit every pod of the
    cluster to the metrics and health of relays and publishers, and agents have no policy. A function's policy admits
    Serving only, so the reason of a function that doesn't start is then read from its log.
    """

    _pods = HttpClient(connections=0)

    def ask_pod(
        self,
        pod: str,
        port: int,
        path: str,
        *,
        timeout_s: float = 30.0,
        namespace: str | None = None,
    ) -> HttpAnswer:
        """Send a GET to a pod at its address."""
        found = self.get(POD, pod, namespace=namespace)
        if found is None:
            raise AbsentError(f"there is no pod {pod}", hint="eaves status --on knative")
        address = str(found.get("status", {}).get("podIP") or "")
        if not address:
            raise ClusterError(f"the pod {pod} has no address yet")
        host = f"[{address}]" if ":" in address else address
        try:
            return self._pods.request("GET", f"http://{host}:{port}{path}", timeout_s=timeout_s, max_bytes=MAX_BYTES)
        except DeliveryError as error:
            reason = explain(error).reason
            raise ClusterError(f"the pod {pod} doesn't answer at {address} port {port}: {reason}") from error


API_TIMEOUT_S = 10.0
"""Maximum seconds for a call of the API server."""
STATUS_S = 5.0
"""Time for which a status is shown again, seconds. One status takes some 20 requests to the API server and the agents,
and many people may look at the pages."""


class SiteBackend:
    """Implements `eaves.console.backend.Backend` on one site.

    Queues, models, labels and jobs are not shown: an agent's queue is changed by `eaves queue`, which runs a program in
    the agent's pod, and a pod has neither the project nor the runs and artifacts of its functions.

    Args:
        send: Sends an event to a function, by its name, and returns the function's answer.
        title: Name of the site for people.
        records: History of the events that the console received.
        images: Images of these events.
        clock: Clock for the age of a status.
    """

    def __init__(
        self,
        site: KnativePlatform,
        *,
        send: Callable[[str, Event], SinkResponse],
        title: str,
        records: Records,
        images: Images,
        clock: Clock = SYSTEM,
    ) -> None:
        self.title = title
        self.records = records
        self.images = images
        self.invoke = send
        self.labels = None
        self.jobs = None
        self._site = site
        self._status = CachedAnswer(self._read_status, STATUS_S, clock)

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every function, at most `STATUS_S` old."""
        return self._status.get()

    def _read_status(self) -> Sequence[FunctionStatus]:
        with _seen_from_a_pod():
            return self._site.status(usage=True)

    def queue_names(self) -> Sequence[str]:
        """Return no queue."""
        return ()

    def open_queue(self, name: str) -> AbstractContextManager[Queue]:
        """Refuse to open a queue."""
        raise NotFoundError("the console of a site opens no queues", hint="eaves queue list --on knative")

    def runs(self) -> Mapping[str, Path]:
        """Return no runs: they are on the machine that made them."""
        return {}

    def logs(self, function: str) -> Sequence[str]:
        """Return the last lines of a function's log, oldest first."""
        with _seen_from_a_pod():
            return self._site.logs(function, lines=100)

    def promote(self, function: str) -> None:
        """Send every request to the newest revision; a DeniedError when the console may only read."""
        with _seen_from_a_pod():
            self._site.promote(function)
        self._status.forget()

    def rollback(self, function: str) -> None:
        """Send every request to the previous revision; a DeniedError when the console may only read."""
        with _seen_from_a_pod():
            self._site.rollback(function)
        self._status.forget()


@contextmanager
def _seen_from_a_pod() -> Iterator[None]:
    """Replace the advice of an error about the connection: a viewer of the pages has no kubeconfig to check."""
    try:
        yield
    except ClusterError as error:
        if isinstance(error, UnreachableClusterError) or "kubeconfig" in (error.hint or ""):
            hint = f"kubectl logs {socket.gethostname()}   # the console's pod, which can't use its API server"
            raise UnreachableClusterError(error.message, hint=hint) from error
        raise


STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
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
        open_console(settings, open_inside(InsideCluster, timeout_s=API_TIMEOUT_S), client, stack)
        signal.sigwait(STOP_SIGNALS)


def open_console(
    settings: SiteConsoleSettings, cluster: Cluster, client: SinkClient, stack: ExitStack
) -> ConsoleServer:
    """Open the ports of pages and events.

    Args:
        settings: Settings of the process.
        client: Client for requests to functions.
        stack: Closes everything in order.

    Returns:
        The server of the pages.
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
    history = FileHistory(file)
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

    images = Gallery(settings.data / "thumbnails.db", find_image)
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
