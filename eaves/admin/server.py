"""Endpoints of a process with a queue: a Unix socket for the process's user, and a port for metrics and health.

    GET  /health/liveness   503 only when the process must be restarted
    GET  /health            503 while images aren't captured or delivered as they should be; always with the report
    GET  /metrics           Prometheus text
    POST /queues            a request to the queue (`eaves.admin.queue`) as the body, on the Unix socket only

Both accept a limited number of connections with one request each. When all connections are in use, the oldest one is
closed to make room for a new one. So a client that keeps its connections open can't block other clients.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from eaves.admin.metrics import CONTENT_TYPE, render_metrics
from eaves.admin.queue import Queue, SpoolQueue, answer_request
from eaves.admin.report import (
    HEALTH,
    LIVE,
    METRICS,
    QUEUES,
    LinkReport,
    QueueReport,
    SourceReport,
    list_faults,
    to_json,
)
from eaves.delivery import Deliverer
from eaves.errors import ConfigError, EavesError
from eaves.ingress import IngressLimits, IngressServer, Request, Response, answer_error, answer_json, answer_problem
from eaves.spool import Spool

CONNECTIONS = 8
"""Maximum number of connections that haven't sent a request yet; as many more may have a request that is being
answered."""
TIMEOUT_S = 10.0
"""Time limit for a request, and maximum wait for the peer to accept more of an answer, seconds."""
LIMITS = IngressLimits(
    max_bytes=0,
    in_flight_bytes=0,
    connections=2 * CONNECTIONS,
    keep_alive=False,
    headers_s=TIMEOUT_S,
    stall_s=TIMEOUT_S,
    programs_only=True,
)
Answer = Callable[[str, str, str], Response]
"""Function that answers a request with its method, its path, and its query or body."""
MAX_REQUEST_BYTES = 1_000_000
"""Maximum size of a request to a queue, bytes, with the numbers of more than 50,000 entries."""

_log = logging.getLogger(__name__)


def default_socket(spool: Path) -> Path:
    """Return the socket at which a queue is administered when `admin_socket` isn't set."""
    return spool.with_name(f"{spool.name}.admin") / "socket"


@contextmanager
def open_endpoints(
    spool: Spool,
    deliverers: Sequence[Deliverer],
    *,
    sources: Callable[[], Sequence[SourceReport]] = tuple,
    link: Callable[[], LinkReport | None] = lambda: None,
    parts: Mapping[str, Callable[[], bool]],
    socket: Path | None,
    host: str,
    port: int,
    around: Callable[[Answer], Answer] = lambda answer: answer,
) -> Iterator[list[AdminServer]]:
    """Serve both endpoints while the block runs.

    An endpoint that can't be opened is logged and left closed, because events are delivered without it.

    Args:
        spool: Spool with the queue.
        deliverers: Deliverers of the spool's lanes.
        sources: Returns the reports of the sources that fill the spool.
        link: Returns the report on the link that the spool is forwarded over; None without a link.
        parts: Essential parts of the process by name, each with a function that returns whether it still runs.
        socket: Path of the Unix socket; None for `default_socket` of the spool.
        host: Address that the port listens on.
        port: TCP port of metrics and health; 0 for none.
        around: Wraps the function that answers requests, to add something to its answers.

    Yields:
        The servers that could be opened, that of the Unix socket first.
    """

    def try_now(lane: str) -> None:
        for deliverer in deliverers:
            if lane in ("", *deliverer.lanes):
                deliverer.try_now()

    queue = SpoolQueue(
        spool,
        deliveries=lambda: [one.status(lane) for one in deliverers for lane in one.lanes],
        sources=sources,
        link=link,
        try_now=try_now,
    )
    answer_port = around(partial(answer_health, queue, parts))

    def answer_socket(method: str, path: str, text: str) -> Response:
        return answer_queue(queue, text) if (method, path) == ("POST", QUEUES) else answer_port(method, path, text)

    with ExitStack() as stack:
        servers = []
        for number in (None, port) if port else (None,):
            try:
                if number is None:
                    path = socket or default_socket(spool.path)
                    server = AdminServer(answer_socket, path=path, max_bytes=MAX_REQUEST_BYTES)
                else:
                    server = AdminServer(answer_port, host=host, port=number)
            except ConfigError as error:
                _log.error("%s; the admin server is off, but events are still captured and delivered", error.message)
                continue
            stack.callback(server.stop)
            servers.append(server)
        yield servers


def answer_queue(queue: Queue, text: str) -> Response:
    """Answer a request to a queue. It may delete images: only for sockets of mode 0600."""
    try:
        return answer_json(answer_request(queue, text))
    except EavesError as error:
        return answer_error(error)


def answer_health(
    queue: Queue, parts: Mapping[str, Callable[[], bool]], method: str, path: str, _: str = ""
) -> Response:
    """Answer a request to a port, which is open to all that can reach it.

    Args:
        queue: Queue of the process.
        parts: Functions that return whether an essential part still runs, by its name.
        method: HTTP method.
        path: Path of the request.
    """
    if method != "GET" or path not in (LIVE, HEALTH, METRICS):
        return answer_problem(404, f"no such endpoint: {method} {path[:128]}")
    ended = [f"{name} has ended or no longer responds" for name, is_alive in parts.items() if not is_alive()]
    if path == LIVE:
        return _describe_health(ended)
    try:
        report = queue.report()
    except EavesError as error:
        return _describe_health([error.message])
    return answer_metrics(report) if path == METRICS else _describe_health([*ended, *list_faults(report)], report)


def answer_metrics(report: QueueReport) -> Response:
    """Return a report as Prometheus text."""
    return Response(status=200, headers={"Content-Type": CONTENT_TYPE}, body=render_metrics(report).encode())


def _describe_health(reasons: Sequence[str], report: QueueReport | None = None) -> Response:
    document = {"status": "unwell" if reasons else "ok", "reasons": list(reasons)}
    return answer_json(document | ({"report": to_json(report)} if report else {}), 503 if reasons else 200)


class AdminServer(IngressServer):
    """A running HTTP server that answers administrative requests on a TCP port or a Unix socket.

    Args:
        answer: Returns the response to a request; called from several threads.
        port: TCP port; 0 takes a free one.
        host: Address of this machine to listen on.
        path: Path of a Unix socket, in place of a port; a folder that is made for it is accessible to this user only.
        max_bytes: Maximum size of a request's body, bytes; 0 refuses every body.

    Raises:
        ConfigError: When the server can't listen on the address.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: Path | None = None,
        max_bytes: int = 0,
    ) -> None:
        if path is not None:
            try:
                _prepare_folder(path.parent)
            except OSError as error:
                raise ConfigError.single(
                    "admin server",
                    "path",
                    f"can't listen on {path}: {error}",
                    hint="set another path for the admin socket",
                ) from error
        limits = replace(LIMITS, max_bytes=max_bytes, in_flight_bytes=max_bytes)
        serve = partial(_serve, answer, max_bytes)
        super().__init__(serve, host=host, port=port, path=path, limits=limits, name="admin server")


def _prepare_folder(folder: Path) -> None:
    """Create a folder that only this user can enter, unless it exists; an OSError when it belongs to another user.

    An existing folder, perhaps /run, keeps its mode: the socket itself is the user's own.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")


def _serve(answer: Answer, max_bytes: int, request: Request) -> Response:
    """Answer a request with `answer`; a body is refused where none is accepted."""
    if not request.is_read and not max_bytes:
        return answer_problem(413, "this endpoint accepts no request body")
    request.admit()
    text = request.query if request.is_read else request.read_body(max_bytes).decode(errors="replace")
    return answer(request.method, request.path, text)
