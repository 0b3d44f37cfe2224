"""The status of an agent: what its queue's report says in short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eaves.admin.report import LinkReport, QueueReport, SourceReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePause:
    """A queue whose delivery waits because its receiver can't be reached or refuses everything.

    Attributes:
        lane: The queue.
        reason: Why it waits.
        since: When the pause began, Unix seconds; None when that isn't known.
    """

    lane: str
    reason: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """One process with a queue: an agent that runs sources, a publisher, or a relay.

    Attributes:
        name: What `eaves queue --agent` calls it: `FUNCTION` here, `FUNCTION.SOURCE` on a cluster.
        pod: On a cluster: the pod it runs in; empty elsewhere.
        state: `running`, or why it can't be asked: `starting`, `stopped`, `unknown`, or the phase of its pod.
        reason: Why it can't be asked, in words; empty when it can.
        sources: Its sources as it reports them; those that it should run, by name, when it can't be asked.
        queued: Entries that wait in its queue; None when the agent can't be asked.
        dead: Dead letters in its queue; None when the agent can't be asked.
        oldest_age_s: Seconds since the oldest waiting entry was put; None when none waits.
        pauses: Its queues that wait.
        link: The link to the receiver, of a relay; None of all others, and when it can't be asked.
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
    """The status of an agent that runs.

    Args:
        name: Its name.
        report: Of its queue and its sources.
        pod: On a cluster: the pod it runs in.
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
    """The status of an agent that can't be asked.

    Args:
        name: Its name.
        sources: Names of the sources that it should run.
        state: Why it can't, in one word.
        reason: Why, in words.
        pod: On a cluster: the pod it runs in.
    """
    reports = tuple(SourceReport(name=source, state=state) for source in sources)
    return AgentStatus(name=name, pod=pod, state=state, reason=reason, sources=reports)


def list_pauses(report: QueueReport) -> tuple[LanePause, ...]:
    """The lanes that wait."""
    return tuple(
        LanePause(lane=lane.lane, reason=lane.reason, since=lane.paused_since) for lane in report.lanes if lane.paused
    )
