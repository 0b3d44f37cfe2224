"""The local platform's queues: how they are opened, what waits in them, and what `eaves status` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from eaves.admin.client import TIMEOUT_S, SocketQueue, open_queue
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import LaneReport, QueueReport, describe_silent
from eaves.errors import EavesError, NotFoundError, NotRunningError
from eaves.link.settings import BROKER, LINK
from eaves.local.broker import SINK, lane_of
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, PartStatus
from eaves.sources.settings import LANES
from eaves.spool import lease_path

AGENT_TIMEOUT_S = 2.0
"""Time limit for one agent's response, seconds, so that a hung agent doesn't delay `eaves status`."""


def read_agent(app: str, sources: Sequence[str], socket: Path) -> QueueReport:
    """Ask a running agent for its report.

    Args:
        app: Name of the agent's app.
        sources: Names of the agent's sources.
        socket: Path of the agent's admin socket.
    """
    try:
        return replace(SocketQueue(socket, timeout_s=AGENT_TIMEOUT_S).report(), name=app)
    except NotRunningError:
        return describe_silent(app, sources, state="starting")
    except EavesError as error:
        return describe_silent(app, sources, state="unknown", reason=error.message)


def list_queues(state: StateDirectory) -> list[str]:
    """Return the queues that `open_local_queue` opens: the broker's, and that of each app's agent and relay."""
    names = [""]
    for app in state.names():
        names += [app] if state.spool_of(app).is_file() else []
        names += [f"{app}.{RELAY}"] if state.spool_of(app, RELAY).is_file() else []
    return names


@contextmanager
def open_local_queue(
    state: StateDirectory, agent: str, *, timeout_s: float = TIMEOUT_S
) -> Iterator[SocketQueue | SpoolQueue]:
    """Open a queue of the local platform, through the process that uses it, or from its file when none does.

    Args:
        state: State directory of the platform.
        agent: Agent whose queue is opened, as `FUNCTION` or `FUNCTION.SOURCE`; `FUNCTION.relay` for the relay; empty
            for the broker.
        timeout_s: Maximum wait for an answer of that process, seconds.

    Raises:
        NotFoundError: When there is no such queue.
        PlatformError: When a process uses the queue and doesn't respond.
    """
    app, _, source = agent.partition(".")
    if not agent:
        spool, socket, leases = state.spool, state.socket, [state.lock]
    elif source == RELAY and (spool := state.spool_of(app, RELAY)).is_file():
        socket, leases = state.socket_of(app, RELAY), [lease_path(spool, lane) for lane in (LINK, BROKER)]
    elif source and source not in state.list_sources(app):
        raise NotFoundError(f"there is no queue of the source {agent!r}", hint="eaves status")
    else:
        spool, socket = state.spool_of(app), state.socket_of(app)
        leases = [lease_path(spool, lane) for lane in LANES]
    with open_queue(spool, socket, leases, timeout_s=timeout_s) as queue:
        yield queue


def find_lanes(report: QueueReport, app: str) -> list[tuple[LaneReport, ...]]:
    """Return the broker's lanes of an app: those of its triggers, and those of their dead letter sinks."""
    prefixes = (lane_of(app, ""), lane_of(app, "", SINK))
    return [tuple(one for one in report.lanes if one.lane.startswith(prefix)) for prefix in prefixes]


def list_parts(lanes: Iterable[LaneReport], agents: Iterable[QueueReport], now: float) -> Iterator[PartStatus]:
    """Yield the status of each trigger of an app, which isn't ready while it is paused, and of each source.

    Args:
        lanes: The broker's lanes of the app's triggers; one that isn't delivered is that of a removed trigger.
        agents: Reports of the app's agents and relay.
        now: Current time, Unix seconds.
    """
    for lane in lanes:
        if lane.delivering:
            yield PartStatus(
                kind="Trigger",
                name=lane.lane.rpartition("/")[2],
                component="trigger",
                state="failed" if lane.paused else "ready",
                reason=lane.reason,
                since=lane.since,
                age_s=None if lane.since is None else max(0.0, now - lane.since),
            )
    for agent in agents:
        for source in agent.sources:
            state = "starting" if source.is_starting else "ready" if source.is_ready else "failed"
            yield PartStatus(
                kind="Source",
                name=source.name,
                component="source",
                state=state,
                reason="" if state == "ready" else source.reason or agent.reason,
                age_s=source.reason_age_s,
            )
