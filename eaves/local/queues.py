"""The local platform's queues: how they are opened, what waits in them, and what `eaves status` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from eaves.admin.client import TIMEOUT_S, SocketQueue, open_queue
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus, describe_silent, summarize
from eaves.base.names import NAME_PATTERN
from eaves.delivery import LaneDelivery
from eaves.errors import EavesError, NotFoundError, NotRunningError
from eaves.link.relay_intake import BROKER
from eaves.local.broker import lane_of
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, PartStatus
from eaves.sources.agent.counters import NOT_STARTED
from eaves.sources.agent_lanes import LANES
from eaves.spool import lease_path

LINK = "link"
"""Part of the name of the lock file that a relay holds while it forwards events from its spool."""
AGENT_TIMEOUT_S = 2.0
"""Time limit for one agent's response, seconds, so that a hung agent doesn't delay `eaves status`."""
READY = "watching"
"""State in which a source captures new images (`eaves.sources.context.State`)."""


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


def count_queued(state: StateDirectory, app: str) -> dict[str, int]:
    """Return the number of queued events by trigger of an app, whether the platform runs or not.

    An event that several triggers want counts for each. A queue that can't be read counts as empty.
    """
    prefix, found = lane_of(app, ""), {}
    if NAME_PATTERN.fullmatch(app) and state.spool.is_file():
        with suppress(EavesError), open_local_queue(state, "") as queue:
            lanes = queue.report().lanes
            found = {one.lane.removeprefix(prefix): one.queued for one in lanes if one.lane.startswith(prefix)}
    return {trigger: count for trigger, count in found.items() if count}


def count_captured(state: StateDirectory, app: str) -> int:
    """Return the number of images in the queue of an app's agent; 0 when it can't be read."""
    if NAME_PATTERN.fullmatch(app) and state.spool_of(app).is_file():
        with suppress(EavesError), open_local_queue(state, app) as queue:
            return sum(lane.queued for lane in queue.report().lanes)
    return 0


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


def list_trigger_parts(
    lanes: Mapping[str, str], deliveries: Iterable[LaneDelivery], now: float
) -> tuple[PartStatus, ...]:
    """Return the status of each trigger of an app; a trigger isn't ready while its deliveries are paused.

    Args:
        lanes: Lane of a trigger in the spool to the trigger's name.
        deliveries: Delivery status of all lanes of the broker; other lanes are ignored.
        now: Current time, Unix seconds.
    """
    paused = {one.lane: one for one in deliveries if one.paused}
    return tuple(_describe_trigger(name, paused.get(lane), now) for lane, name in lanes.items())


def list_source_parts(agents: Iterable[AgentStatus]) -> tuple[PartStatus, ...]:
    """Return the status of each source of an app.

    Args:
        agents: Status of the app's agents and relay.
    """
    return tuple(_describe_source(source, agent) for agent in agents for source in agent.sources)


def _describe_trigger(name: str, paused: LaneDelivery | None, now: float) -> PartStatus:
    if paused is None:
        return PartStatus(kind="Trigger", name=name, component="trigger")
    age_s = None if paused.since is None else max(0.0, now - paused.since)
    return PartStatus(
        kind="Trigger", name=name, component="trigger", state="failed", reason=paused.reason, since=paused.since,
        age_s=age_s,
    )  # fmt: skip


def _describe_source(source: SourceReport, agent: AgentStatus) -> PartStatus:
    reason = source.reason or agent.reason
    if source.state == "starting" or (source.state, source.reason) == NOT_STARTED:
        state = "starting"
    elif source.state == "finished":
        state = "ready"
    else:
        state = "ready" if source.state == READY and not source.reason else "failed"
    is_last = bool(source.reason) and source.reason == source.last_error
    return PartStatus(
        kind="Source",
        name=source.name,
        component="source",
        state=state,
        reason="" if state == "ready" else reason,
        age_s=source.last_error_age_s if is_last else None,
    )
