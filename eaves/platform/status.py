"""The observed state of a function: the tree whose branches its platform and its processes report.

`eaves.admin.report` has the branches that the processes build, and the tree's way to JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass

from eaves.admin.report import LaneReport, QueueReport
from eaves.base.process_usage import ProcessUsage
from eaves.rollout import RolloutReport


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """Status of one object of an app beside its function, on a cluster.

    Attributes:
        kind: Kind of the object: `Trigger`, `Broker`, `SinkBinding`, `StatefulSet`; on one machine `Trigger` or
            `Source`.
        name: Name of the object; `*`: all objects of the kind, when reading them is not allowed.
        namespace: Namespace of the object.
        component: Purpose of the object: `trigger`, `source`, `relay`, `pin`.
        state: `ready`; `starting`, not ready without a known fault; `failed`, not ready for a known cause; `missing`;
            or `unknown`, when reading it is not allowed.
        pods: Ready pods of all, `2/3`; empty for an object that runs none.
        cause: The known cause, one of `knative.status.conditions.CAUSES`; empty when none is known.
        reason: Why the object isn't ready, in words; empty when it is ready.
        fix: Command or edit that fixes it; empty when there is none.
        final: Whether it stays so without the fix, so that waiting is useless.
        since: Time of the last change of state, Unix seconds; None when not known.
        age_s: Seconds since the last change of state, by the cluster's clock.
    """

    kind: str
    name: str
    namespace: str = ""
    component: str = ""
    state: str = "ready"
    pods: str = ""
    cause: str = ""
    reason: str = ""
    fix: str = ""
    final: bool = False
    since: float | None = None
    age_s: float | None = None

    @property
    def title(self) -> str:
        """Title of the object, such as `Trigger flowers-alarm`."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStatus:
    """Status of a revision that gets requests.

    Attributes:
        revision: Name of the revision.
        percent: Share of the requests that it gets, percent.
        image: Its container image; empty when reading the revision is not allowed.
        artifact_digest: sha256 of its artifact's manifest, hex; empty when not known.
    """

    revision: str
    percent: int
    image: str = ""
    artifact_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedStatus:
    """The latest deployment as recorded in the cluster.

    Attributes:
        sequence: Number of the deployment.
        at: Time of the deployment, Unix seconds by the cluster's clock.
        age_s: Seconds since the deployment, by the cluster's clock.
        by: User who deployed, `USER@HOST`.
        image: Container image, by digest.
        artifact_digest: sha256 of its artifact's manifest, hex.
    """

    sequence: int
    at: float
    age_s: float
    by: str
    image: str
    artifact_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedStatus:
    """Status of a container image that nodes keep, so that a function starts without the registry.

    Attributes:
        image: The container image.
        ready: Number of nodes that have it.
        wanted: Number of nodes that should have it.
    """

    image: str
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """Observed state of one function.

    Attributes:
        name: Name of the function.
        state: `ready` (answers at once), `idle` (scaled to zero, starts at the first event), `degraded` (answers, but
            another part of the app isn't ready), `starting`, `failed`, `stopped` (nothing runs it).
        replicas: Number of running replicas.
        reason: Why the function failed; empty otherwise.
        cause: On a cluster: cause of the failure, one of `knative.status.conditions.CAUSES`; empty otherwise.
        fix: Command or edit that fixes it; empty when there is none.
        since: On a cluster: Unix time in seconds since which it isn't ready; None when it is ready or that isn't known.
        artifact: Directory of the served artifact, or address of its container image.
        artifact_digest: sha256 of the artifact's manifest, hex.
        lanes: On one machine: the broker's lanes of its triggers, present and removed ones.
        sinks: On one machine: the broker's lanes of its triggers' dead letter sinks.
        delivered: Number of events that the function answered: on one machine since the platform started; on a cluster
            those of agents since their queues were created, and with `usage` those that replicas which run now answered
            others.
        usage: Processor time and memory of its replicas; on a cluster of those that run now, None when not asked for.
        site: Name of the site, for its events' source.
        agents: Reports of the processes that run its sources, publish its events, or are its relay.
        parts: The other objects of the app that can be ready or not; on one machine its triggers and sources.
        serving: On a cluster: the revisions that get requests now.
        deployed: On a cluster: the latest deployment; None when the cluster has no record of one.
        pinned: On a cluster: the container images that nodes keep.
        rollout: The rollout of its newest revision, on one machine a canary's; None when none was started.
        audit: On one machine: what labelled photos of the audit sample say of its model; empty when none was asked.
    """

    name: str
    state: str
    replicas: int = 0
    reason: str = ""
    cause: str = ""
    fix: str = ""
    since: float | None = None
    artifact: str = ""
    artifact_digest: str = ""
    lanes: tuple[LaneReport, ...] = ()
    sinks: tuple[LaneReport, ...] = ()
    delivered: int = 0
    usage: ProcessUsage | None = None
    site: str = ""
    agents: tuple[QueueReport, ...] = ()
    parts: tuple[PartStatus, ...] = ()
    serving: tuple[ServedStatus, ...] = ()
    deployed: DeployedStatus | None = None
    pinned: tuple[PinnedStatus, ...] = ()
    rollout: RolloutReport | None = None
    audit: str = ""

    @property
    def total_usage(self) -> ProcessUsage:
        """Processor time and memory of its replicas and agents, as far as they are known."""
        return sum(filter(None, self._usages), ProcessUsage())

    @property
    def is_usage_known(self) -> bool:
        """Whether the usage of all its replicas and agents is known."""
        return None not in self._usages

    @property
    def _usages(self) -> tuple[ProcessUsage | None, ...]:
        return self.usage, *(agent.usage for agent in self.agents)

    @property
    def link_bytes(self) -> int:
        """Bytes of request bodies that its relay has sent over the link, since the relay started."""
        return sum(agent.link.bytes_sent for agent in self.agents if agent.link is not None)

    @property
    def queued(self) -> int:
        """Number of events without an answer yet: in lanes of its triggers and sinks, and in agents' queues."""
        return sum(one.queued or 0 for one in self._queues)

    @property
    def dead(self) -> int:
        """Number of dead letters that are kept; one on its way to a dead letter sink is queued."""
        return sum(one.dead or 0 for one in self._queues)

    @property
    def _queues(self) -> tuple[LaneReport | QueueReport, ...]:
        """The lanes, and the queues of agents, without the relay's, whose events are answered already."""
        return *self.lanes, *self.sinks, *(agent for agent in self.agents if agent.sources)

    @property
    def pauses(self) -> tuple[LaneReport, ...]:
        """The paused lanes."""
        return tuple(lane for lane in (*self.lanes, *self.sinks) if lane.paused)

    @property
    def traffic(self) -> tuple[str, ...]:
        """Revisions that get requests, each with its share; empty on one machine."""
        return tuple(f"{one.revision} {one.percent} %" for one in self.serving)
