"""Endpoints of a process with a queue: a Unix socket for the process's user, and a port for metrics and health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from eaves.admin.agent import AgentRoutes
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import LinkReport, SourceReport
from eaves.admin.server import AdminServer, Answer
from eaves.delivery.sink_state import LaneDelivery
from eaves.errors import ConfigError
from eaves.spool import Spool

_log = logging.getLogger(__name__)


class DelivererView(Protocol):
    """Interface of a deliverer that the endpoints need."""

    @property
    def lanes(self) -> Sequence[str]:
        """Names of the lanes that it delivers."""

    def status(self, lane: str) -> LaneDelivery:
        """Return the state of a lane's delivery."""

    def try_now(self) -> None:
        """Make the next delivery attempt now, even when deliveries are paused."""


def default_socket(spool: Path) -> Path:
    """Return the socket at which a queue is administered when `admin_socket` isn't set."""
    return spool.with_name(f"{spool.name}.admin") / "socket"


@contextmanager
def open_endpoints(
    spool: Spool,
    deliverers: Sequence[DelivererView],
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
    routes = AgentRoutes(queue, lambda: [name for name, is_alive in parts.items() if not is_alive()])
    path = socket or default_socket(spool.path)
    doors: list[dict[str, Any]] = [{"answer": around(routes.answer_socket), "path": path}]
    if port:
        doors.append({"answer": around(routes.answer_port), "host": host, "port": port})
    with ExitStack() as stack:
        servers = []
        for door in doors:
            try:
                server = AdminServer(**door)
            except ConfigError as error:
                _log.error("%s; the admin server is off, but events are still captured and delivered", error.message)
                continue
            stack.callback(server.stop)
            servers.append(server)
        yield servers
