"""The agent's doors: its queue on a Unix socket, metrics and health on a port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from eaves.admin.endpoints import DelivererView, default_socket, open_endpoints
from eaves.admin.report import SourceReport
from eaves.admin.server import AdminServer
from eaves.sources.settings import AgentSettings
from eaves.spool import Spool


class RunningSource(Protocol):
    """What is needed of a source."""

    def report(self) -> SourceReport:
        """What it does and has done."""


def open_admin(
    settings: AgentSettings,
    spool: Spool,
    deliverers: Sequence[DelivererView],
    sources: Sequence[RunningSource],
    *,
    parts: Mapping[str, Callable[[], bool]],
) -> AbstractContextManager[list[AdminServer]]:
    """Serve the agent's doors while the block runs; see `open_endpoints`.

    Args:
        settings: The agent's.
        spool: Its queue.
        deliverers: Of the spool's lanes.
        sources: What fills the spool.
        parts: Name of each part without which the process is of no use, and whether it still runs.
    """
    return open_endpoints(
        spool,
        deliverers,
        sources=lambda: [source.report() for source in sources],
        parts=parts,
        path=settings.admin_socket or default_socket(settings.spool),
        host=settings.host,
        port=settings.port,
    )
