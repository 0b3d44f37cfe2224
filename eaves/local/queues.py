"""The local platform's queues: HTTP routes of the broker's queue, and the status of the agents' queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, request

from eaves.admin import Queue
from eaves.admin.client import SocketQueue, open_queue
from eaves.admin.queue import SpoolQueue
from eaves.admin.routes import answer
from eaves.admin.summary import AgentStatus, describe_silent, summarize
from eaves.base.names import NAME_PATTERN
from eaves.errors import EavesError, NotFoundError, NotRunningError
from eaves.local.broker import lane_of
from eaves.local.specs import LocalApp
from eaves.local.state import StateDirectory
from eaves.platform import RELAY
from eaves.relay.relay_lanes import BROKER
from eaves.sources.agent_lanes import LANES
from eaves.spool import lease_path

LINK = "link"
"""Part of the name of the lock file that a relay holds while it forwards events from its spool."""
AGENT_TIMEOUT_S = 2.0
"""Time limit for one agent's response, seconds, so that a hung agent doesn't delay `eaves status`."""


def build_queue_routes(queue: Queue) -> Blueprint:
    """Build the routes of `eaves.admin.routes` for the broker's queue, for the control socket only."""
    blueprint = Blueprint("queues", __name__)

    @blueprint.route("/queues", methods=["GET", "POST"])
    @blueprint.route("/queues/<path:_>", methods=["GET", "POST"])
    def handle(_: str = "") -> Response:
        response = answer(queue, request.method, request.path, request.query_string.decode())
        return Response(response.body, status=response.status, content_type=response.content_type)

    return blueprint


def read_agent(app: str, sources: Sequence[str], socket: Path) -> AgentStatus:
    """Ask a running agent for its status.

    Args:
        app: Name of the agent's app.
        sources: Names of the agent's sources.
        socket: Path of the agent's admin socket.
    """
    try:
        return summarize(app, SocketQueue(socket, timeout_s=AGENT_TIMEOUT_S).report())
    except NotRunningError:
        return describe_silent(app, sources, state="starting")
    except EavesError as error:
        return describe_silent(app, sources, state="unknown", reason=error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingEvents:
    """Number of events and images that wait for one app.

    Attributes:
        events: Events in the broker's queue; one that several of the app's triggers want counts once for each.
        captured: Images in the queue of the app's agent that the broker hasn't taken yet.
    """

    events: int = 0
    captured: int = 0


def count_waiting(state: StateDirectory, app: str) -> WaitingEvents:
    """Count the events and images that wait for an app, whether the platform runs or not.

    A queue that can't be read counts as empty.

    Args:
        state: The platform's directory.
        app: Name of the app.
    """
    if not NAME_PATTERN.fullmatch(app):
        return WaitingEvents()
    found = {}
    for key, agent, spool, prefix in (
        ("events", "", state.spool, lane_of(app, "")),
        ("captured", app, state.agent_spool(app), ""),
    ):
        if spool.is_file():
            with suppress(EavesError), open_local_queue(state, agent) as queue:
                found[key] = sum(lane.queued for lane in queue.report().lanes if lane.lane.startswith(prefix))
    return WaitingEvents(**found)


def count_removed(state: StateDirectory, app: LocalApp) -> dict[str, int]:
    """Count the queued events of the triggers that a deployment removes, whether the platform runs or not.

    A queue that can't be read counts as empty.

    Args:
        state: The platform's directory.
        app: The app that is about to be deployed.

    Returns:
        Number of queued events by trigger, for each removed trigger that has any.
    """
    name = app.function.name
    kept = {trigger.name for trigger in app.triggers} | ({RELAY} if app.relay.enabled else set())
    found: dict[str, int] = {}
    if state.spool.is_file():
        with suppress(EavesError), open_local_queue(state, "") as queue:
            for lane in queue.report().lanes:
                trigger = lane.lane.removeprefix(lane_of(name, ""))
                if trigger != lane.lane and trigger not in kept and lane.queued:
                    found[trigger] = lane.queued
    return found


@contextmanager
def open_local_queue(state: StateDirectory, agent: str) -> Iterator[SocketQueue | SpoolQueue]:
    """Open a queue of the local platform, through the process that uses it, or from its file when none does.

    Args:
        state: State directory of the platform.
        agent: Agent whose queue is opened, as `FUNCTION` or `FUNCTION.SOURCE`; `FUNCTION.relay` for the relay; empty
            for the broker.

    Raises:
        NotFoundError: When there is no such queue.
        PlatformError: When a process uses the queue and doesn't respond.
    """
    state.check_length()
    if not agent:
        with open_queue(state.spool, state.socket, [state.lock]) as queue:
            yield queue
        return
    app, _, source = agent.partition(".")
    if source == RELAY and (spool := state.relay_spool(app)).is_file():
        leases = [lease_path(spool, lane) for lane in (LINK, BROKER)]
        with open_queue(spool, state.relay_socket(app), leases) as queue:
            yield queue
        return
    if source and source not in state.list_sources(app):
        raise NotFoundError(f"there is no queue of the source {agent!r}", hint="eaves status")
    spool = state.agent_spool(app)
    with open_queue(spool, state.agent_socket(app), [lease_path(spool, lane) for lane in LANES]) as queue:
        yield queue
