"""Runs the receiver as one process, which serves requests, stores events and delivers them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from eaves.admin.report import HEALTH, METRICS
from eaves.admin.server import Answer as AdminAnswer
from eaves.admin.server import open_endpoints
from eaves.base.allocator import return_freed_memory
from eaves.base.backoff import UNLIMITED
from eaves.credentials.redact import redact
from eaves.delivery import Deliverer, EventSender, SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.ingress import IngressLimits, IngressServer, Response, ServerTls, answer_json
from eaves.receiver.archive import FolderSender, check_folder
from eaves.receiver.counters import SiteCounters
from eaves.receiver.functions import FunctionProxy
from eaves.receiver.intake import LANE
from eaves.receiver.routes import ReceiverRoutes
from eaves.receiver.settings import ReceiverSettings
from eaves.receiver.sites import Sites
from eaves.receiver.uploads import Uploads
from eaves.spool import Lease, LedgerLimits, Spool

HANDSHAKES = "eaves_receiver_failed_handshakes_total"
NO_SINK = "the address of the sink is unknown: neither sink nor folder is set, and K_SINK is not set by a SinkBinding"
STOP_S = 1.0
"""Time that deliveries in progress have to finish at shutdown, seconds."""
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def run(settings: ReceiverSettings, proxies: Proxies) -> None:
    """Run the receiver until the process gets a stop signal.

    The caller has blocked `STOP_SIGNALS`, so the signals stay pending until this function waits for them.

    Args:
        settings: Settings of the receiver.
        proxies: Proxies of the process, used for the sink and the functions.

    Raises:
        ConfigError: When the receiver can't listen on the address, or a certificate or the sites can't be read.
        SpoolError: When the spool can't be opened.
        StorageError: When the folder for received events (`settings.folder`) can't be written.
    """
    return_freed_memory()
    with serving(settings, proxies):
        signal.sigwait(STOP_SIGNALS)


@contextmanager
def serving(settings: ReceiverSettings, proxies: Proxies) -> Iterator[IngressServer]:
    """Run the receiver until the `with` block ends; the arguments and errors are those of `run`."""
    tls = ServerTls(settings.credentials) if settings.credentials else None
    sites, counters = Sites(settings.sites), SiteCounters()
    if settings.folder:
        check_folder(settings.folder)
    ledger = LedgerLimits(max_entries=settings.ledger_max_entries)
    client = SinkClient(ca_certs_pem=settings.ca_certs, proxies=proxies)
    with Spool(settings.spool, limits=settings.limits(), ledger=ledger) as spool, client, ExitStack() as stack:
        delivery = _build_delivery(settings, spool, client)
        delivery.start()
        stack.callback(delivery.stop, STOP_S)
        functions = FunctionProxy(
            settings.function_urls(),
            client,
            counters,
            max_bytes=settings.max_bytes,
            timeout_s=settings.function_timeout_s,
            in_flight_bytes=settings.in_flight_bytes,
        )
        routes = ReceiverRoutes(
            sites,
            spool,
            Uploads(settings.spool.with_name(f"{settings.spool.name}.parts"), max_bytes=settings.max_bytes),
            functions,
            counters,
            max_bytes=settings.max_bytes,
            is_well=delivery.is_alive,
        )
        server = IngressServer(
            routes,
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
        stack.callback(server.stop)
        stack.enter_context(
            open_endpoints(
                spool,
                [delivery],
                parts={"the receiver": server.is_alive, f"lane {LANE}": delivery.is_alive},
                socket=settings.admin_socket,
                host=settings.host,
                port=settings.health_port,
                around=partial(
                    add_counters,
                    counters,
                    lambda: {
                        "contacts": {**dict.fromkeys(sites.names()), **counters.contacts()},
                        "shared_tokens": sites.shared_tokens(),
                        "target": redact(str(settings.sink or settings.folder or "")),
                        "failed_handshakes": server.failed_handshakes,
                    },
                ),
            )
        )
        yield server


def add_counters(counters: SiteCounters, find_more: Callable[[], dict[str, Any]], answer: AdminAnswer) -> AdminAnswer:
    """Return an `answer` that adds the counters to metrics and health, and further fields to health.

    Args:
        counters: Counters to add.
        find_more: Returns the further fields of health; `failed_handshakes` becomes a metric too.
        answer: Answers an administrator's requests without these additions.
    """

    def answer_with(method: str, path: str, query: str) -> Response:
        response = answer(method, path, query)
        if path == METRICS and response.status == 200:
            failed = f"# TYPE {HANDSHAKES} counter\n{HANDSHAKES} {find_more()['failed_handshakes']}\n"
            body = response.body + counters.render_metrics().encode() + failed.encode()
            return replace(response, body=body)
        if path == HEALTH and response.headers["Content-Type"] == "application/json":
            document = {**json.loads(response.body), "received": counters.to_dict(), **find_more()}
            return answer_json(document, response.status)
        return response

    return answer_with


def _build_delivery(settings: ReceiverSettings, spool: Spool, client: SinkClient) -> Deliverer:
    if settings.folder:
        leases = (spool.lease(LANE), Lease(settings.folder / ".lease"))
        return Deliverer(spool, LANE, FolderSender(settings.folder), backoff=UNLIMITED, leases=leases)

    def send(event: Event) -> SinkResponse:
        if not settings.sink:
            raise UnreachableError(
                NO_SINK, hint=("set sink or folder; on a cluster, check: kubectl get brokers,sinkbindings")
            )
        return client.post(settings.sink, event, prefer_reply=False, timeout_s=settings.timeout_s)

    return Deliverer(
        spool,
        LANE,
        EventSender(send, parallel=settings.parallel),
        backoff=UNLIMITED,
        leases=[spool.lease(LANE)],
    )
