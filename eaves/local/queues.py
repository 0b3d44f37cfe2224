"""The queues of the local platform: routes on the control socket, and what its agents answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Blueprint, Response, request

from eaves.admin import Queue
from eaves.admin.client import SocketQueue, open_queue
from eaves.admin.routes import answer
from eaves.admin.summary import AgentStatus, summarise
from eaves.errors import EavesError, NotRunningError
from eaves.local.state import State
from eaves.sources.lanes import LANES
from eaves.spool import lease_path

AGENT_TIMEOUT_S = 2.0
"""For one agent's answer, so that `eaves status` isn't held up by one that hangs."""


def build_queue_routes(queue: Queue) -> Blueprint:
    """The routes of `eaves.admin.routes` over the broker's queue, for the control socket only."""
    blueprint = Blueprint("queues", __name__)

    @blueprint.route("/queues", methods=["GET", "POST"])
    @blueprint.route("/queues/<path:_>", methods=["GET", "POST"])
    def handle(_: str = "") -> Response:
        response = answer(queue, request.method, request.path, request.query_string.decode())
        return Response(response.body, status=response.status, content_type=response.content_type)

    return blueprint


def read_agent(source: str, socket: Path) -> AgentStatus:
    """Ask a running agent how it is.

    Args:
        source: Name of its source.
        socket: Where it listens.
    """
    try:
        return summarise(source, SocketQueue(socket, timeout_s=AGENT_TIMEOUT_S).report())
    except NotRunningError:
        return AgentStatus(source=source, state="starting")
    except EavesError as error:
        return AgentStatus(source=source, state="unknown", reason=error.message)


@contextmanager
def open_local_queue(state: State, agent: str) -> Iterator[Queue]:
    """A queue of the local platform, through the process that delivers it or from its file.

    Args:
        state: The platform's directory.
        agent: `FUNCTION.SOURCE` of the agent whose queue is meant; empty: the broker's.

    Raises:
        NotFoundError: When there is no such queue.
        PlatformError: When a process delivers it and doesn't answer.
    """
    state.check_length()
    if not agent:
        with open_queue(state.spool, state.socket, [state.lock]) as queue:
            yield queue
        return
    spool = state.source_spool(agent)
    with open_queue(spool, state.agent_socket(agent), [lease_path(spool, lane) for lane in LANES]) as queue:
        yield queue
