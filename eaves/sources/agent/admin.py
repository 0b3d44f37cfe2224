"""The agent's doors: its queue on a Unix socket, metrics and health on a port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from eaves.admin.agent import AgentRoutes
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import SourceView, build_source_report
from eaves.admin.server import AdminServer
from eaves.delivery.status import LaneDelivery
from eaves.errors import ConfigError
from eaves.sources.settings import AgentSettings, default_socket
from eaves.spool import Spool

_log = logging.getLogger(__name__)


class Delivering(Protocol):
    """What is needed of a deliverer."""

    def status(self) -> LaneDelivery:
        """What its lane's delivery does."""

    def try_now(self) -> None:
        """Make the next attempt now even when the lane is paused."""


class RunningSource(Protocol):
    """What is needed of a source."""

    @property
    def name(self) -> str:
        """The source's name."""

    @property
    def counters(self) -> SourceView:
        """What it does and has done."""


@contextmanager
def open_admin(
    settings: AgentSettings,
    spool: Spool,
    deliverers: Sequence[Delivering],
    sources: Sequence[RunningSource],
    *,
    parts: Mapping[str, Callable[[], bool]],
) -> Iterator[list[AdminServer]]:
    """Serve the agent's doors while the block runs.

    Images are captured and delivered without them: one that can't be opened is logged and left closed.

    Args:
        settings: The agent's.
        spool: Its queue.
        deliverers: Of the spool's lanes.
        sources: What fills the spool.
        parts: Name of each part without which the process is of no use, and whether it still runs.

    Yields:
        The servers that could be opened, the Unix socket's first.
    """

    def try_now(lane: str) -> None:
        for deliverer in deliverers:
            if lane in ("", deliverer.status().lane):
                deliverer.try_now()

    queue = SpoolQueue(
        spool,
        deliveries=lambda: [deliverer.status() for deliverer in deliverers],
        sources=lambda: [build_source_report(one.name, one.counters, spool.clock.now()) for one in sources],
        try_now=try_now,
    )
    routes = AgentRoutes(queue, lambda: [name for name, is_alive in parts.items() if not is_alive()])
    doors: list[dict[str, Any]] = [
        {"answer": routes.answer_socket, "path": settings.admin_socket or default_socket(settings.spool)}
    ]
    if settings.port:
        doors.append({"answer": routes.answer_port, "host": settings.host, "port": settings.port})
    with ExitStack() as stack:
        servers = []
        for door in doors:
            try:
                server = AdminServer(**door)
            except ConfigError as error:
                _log.error("%s; images are captured and delivered all the same", error.message)
                continue
            stack.callback(server.stop)
            servers.append(server)
        yield servers
