"""The status of an agent: what its queue's report says in short."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.admin.report import QueueReport


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
    """One agent, the process that runs a source.

    Attributes:
        source: Name of the source.
        pod: On a cluster: the pod it runs in; empty elsewhere.
        state: What the source does; `stopped` or `starting` when the agent doesn't run.
        reason: Why the source captures nothing now, or why the agent can't be asked; empty when all is well.
        captured: Images captured since the agent started.
        last_captured_age_s: Seconds since the last image; None before the first, or when the agent can't be asked.
        queued: Entries that wait in its queue; None when the agent can't be asked.
        dead: Dead letters in its queue; None when the agent can't be asked.
        oldest_age_s: Seconds since the oldest waiting entry was put; None when none waits.
        pauses: Its queues that wait.
    """

    source: str
    pod: str = ""
    state: str = ""
    reason: str = ""
    captured: int = 0
    last_captured_age_s: float | None = None
    queued: int | None = None
    dead: int | None = None
    oldest_age_s: float | None = None
    pauses: tuple[LanePause, ...] = ()


def summarise(source: str, report: QueueReport, *, pod: str = "") -> AgentStatus:
    """The status of an agent.

    Args:
        source: Name of its source.
        report: Of its queue.
        pod: On a cluster: the pod it runs in.
    """
    told = next((one for one in report.sources if one.name == source), None)
    ages = [lane.oldest_age_s for lane in report.lanes if lane.oldest_age_s is not None]
    return AgentStatus(
        source=source,
        pod=pod,
        state=told.state if told else "",
        reason=told.reason if told else "",
        captured=told.captured if told else 0,
        last_captured_age_s=told.last_captured_age_s if told else None,
        queued=sum(lane.queued for lane in report.lanes),
        dead=sum(lane.dead for lane in report.lanes),
        oldest_age_s=max(ages, default=None),
        pauses=list_pauses(report),
    )


def list_pauses(report: QueueReport) -> tuple[LanePause, ...]:
    """The lanes that wait."""
    return tuple(
        LanePause(lane=lane.lane, reason=lane.reason, since=lane.paused_since) for lane in report.lanes if lane.paused
    )
