"""Builds the status of the triggers, the relay and the sources of an app, for `eaves status`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eaves.admin.report import SourceReport
from eaves.admin.summary import AgentStatus
from eaves.delivery import LaneDelivery
from eaves.platform import PartStatus
from eaves.sources.agent.counters import NOT_STARTED

READY = "watching"
"""State in which a source captures new images (`eaves.sources.context.State`)."""


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
