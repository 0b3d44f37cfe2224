"""The answer by which Kubernetes starts an agent's process again: an agent that is alive but deaf."""

from __future__ import annotations

import json
import threading

from eaves.admin.agent import LIVE, AgentRoutes
from eaves.admin.queue import Queue
from eaves.sources.agent.context import SILENT_S
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.context import SourceContext
from tests.fakes.clock import ManualClock
from tests.sources.contexts import build_context


class NoQueue:
    """Liveness asks no queue: it holds for a spool that can't be read, too."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def ask(source: SupervisedSource) -> tuple[int, list[str]]:
    """What the kubelet is answered."""
    queue: Queue = NoQueue()  # type: ignore[assignment]
    routes = AgentRoutes(queue, lambda: [] if source.is_alive() else [f"source {source.name}"])
    response = routes.answer_port("GET", LIVE, "")
    return response.status, json.loads(response.body)["reasons"]


def test_a_source_that_hangs_is_reported_to_the_kubelet_after_its_time() -> None:
    clock, over, began = ManualClock(), threading.Event(), threading.Event()

    def hang(context: SourceContext) -> None:
        context.report("watching")
        began.set()
        over.wait()

    source = SupervisedSource(hang, build_context(clock=clock), clock=clock)
    source.start()
    try:
        assert began.wait(10)
        assert ask(source) == (200, [])
        clock.turn(SILENT_S - 1)
        assert ask(source) == (200, [])
        clock.turn(2)
        assert ask(source) == (503, ["source cam has ended or no longer responds"])
    finally:
        over.set()
        stop_sources([source])
