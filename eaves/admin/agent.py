"""HTTP routes of an agent: its TCP port serves metrics and health, and its Unix socket serves the queue as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eaves.admin.metrics import CONTENT_TYPE, list_faults, render_metrics
from eaves.admin.queue import Queue
from eaves.admin.report import QueueReport
from eaves.admin.routes import AdminResponse, answer, answer_json, answer_problem
from eaves.errors import EavesError

LIVE, HEALTH, METRICS = "/health/liveness", "/health", "/metrics"


class AgentRoutes:
    """HTTP routes of one agent, for its TCP port and for its Unix socket.

    Args:
        queue: Queue of the agent.
        find_dead_parts: Returns the names of parts that have ended for good or that hang; empty in a healthy
            process.
    """

    def __init__(self, queue: Queue, find_dead_parts: Callable[[], Sequence[str]]) -> None:
        self._queue = queue
        self._find_dead_parts = find_dead_parts

    def answer_port(self, method: str, path: str, _: str) -> AdminResponse:
        """Answer a request to the port, which is open to all that can reach it.

        GET /health/liveness  503 only when the process must be restarted
        GET /health           503 while images aren't captured or delivered as they should be; always with the report
        GET /metrics          Prometheus text
        """
        if method != "GET" or path not in (LIVE, HEALTH, METRICS):
            return answer_problem(404, f"no such endpoint: {method} {path[:128]}")
        if path == LIVE:
            return _as_health(self._list_dead_parts())
        try:
            report = self._queue.report()
        except EavesError as error:
            return _as_health([error.message])
        if path == METRICS:
            return AdminResponse(status=200, content_type=CONTENT_TYPE, body=render_metrics(report).encode())
        return _as_health([*self._list_dead_parts(), *list_faults(report)], report)

    def _list_dead_parts(self) -> list[str]:
        return [f"{part} has ended or no longer responds" for part in self._find_dead_parts()]

    def answer_socket(self, method: str, path: str, query: str) -> AdminResponse:
        """Answer a request to the Unix socket: the routes of the port and those of the queue.

        Only the process's user can open the socket.
        """
        if path in (LIVE, HEALTH, METRICS):
            return self.answer_port(method, path, query)
        return answer(self._queue, method, path, query)


def _as_health(reasons: Sequence[str], report: QueueReport | None = None) -> AdminResponse:
    document: dict[str, Any] = {"status": "unwell" if reasons else "ok", "reasons": list(reasons)}
    if report is not None:
        document["report"] = report.to_dict()
    return answer_json(document, 503 if reasons else 200)
