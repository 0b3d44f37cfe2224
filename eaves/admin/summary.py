"""Status of an agent, summarised from the report on its queue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eaves.admin.report import LinkReport, QueueReport, SourceReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePause:
    """Pause of a lane whose receiver can't be reached or refuses everything.

    Attributes:
        lane: Name of the lane.
        reason: Why delivery is paused.
        since: When the pause began, Unix seconds; None when it isn't known.
    """

    lane: str
    reason: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """Status of one process with a queue: an agent that runs sources, a publisher, or a relay.

    Attributes:
        name: Name for `eaves queue --agent`: `FUNCTION` on one machine, `FUNCTION.SOURCE` on a cluster.
        pod: Pod that the process runs in on a cluster; empty elsewhere.
        state: `running`, or why the agent can't be asked: `starting`, `stopped`, `unknown`, or the phase of its pod.
        reason: Explanation why the agent can't be asked; empty when it can.
        sources: Reports of its sources; when the agent can't be asked, only the names of those that it should run.
        queued: Number of entries that wait in its queue; None when the agent can't be asked.
        dead: Number of dead letters in its queue; None when the agent can't be asked.
        oldest_age_s: Age of the oldest waiting entry, seconds; None when none waits.
        pauses: Paused lanes of its queue.
        link: Link of a relay to the receiver; None for other agents, and when the relay can't be asked.
    """

    name: str
    pod: str = ""
    state: str = ""
    reason: str = ""
    sources: tuple[SourceReport, ...] = ()
    queued: int | None = None
    dead: int | None = None
    oldest_age_s: float | None = None
    pauses: tuple[LanePause, ...] = ()
    link: LinkReport | None = None


def summarize(name: str, report: QueueReport, *, pod: str = "") -> AgentStatus:
    """Return the status of a running agent.

    Args:
        name: Name of the agent.
        report: Report on its queue and its sources.
        pod: Pod that the agent runs in on a cluster.
    """
    ages = [lane.oldest_age_s for lane in report.lanes if lane.oldest_age_s is not None]
    return AgentStatus(
        name=name,
        pod=pod,
        state="running",
        sources=report.sources,
        queued=sum(lane.queued for lane in report.lanes),
        dead=sum(lane.dead for lane in report.lanes),
        oldest_age_s=max(ages, default=None),
        pauses=list_pauses(report),
        link=report.link,
    )


def describe_silent(name: str, sources: Iterable[str], *, state: str, reason: str = "", pod: str = "") -> AgentStatus:
    """Return the status of an agent that can't be asked.

    Args:
        name: Name of the agent.
        sources: Names of the sources that it should run.
        state: Why the agent can't be asked, in one word.
        reason: Explanation why it can't be asked.
        pod: Pod that the agent runs in on a cluster.
    """
    reports = tuple(SourceReport(name=source, state=state) for source in sources)
    return AgentStatus(name=name, pod=pod, state=state, reason=reason, sources=reports)


def list_pauses(report: QueueReport) -> tuple[LanePause, ...]:
    """Return the pause of each lane whose delivery is paused."""
    return tuple(
        LanePause(lane=lane.lane, reason=lane.reason, since=lane.paused_since) for lane in report.lanes if lane.paused
    )
