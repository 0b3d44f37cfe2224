"""A function as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.admin.report import LinkReport, SourceReport
from eaves.admin.summary import AgentStatus, LanePause


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """One object of an app beside its function, on a cluster.

    Attributes:
        kind: Kind of the object: `Trigger`, `Broker`, `SinkBinding`, `StatefulSet`; on one machine `Trigger`, `Source`.
        name: Name of the object; `*`: all objects of the kind, which may not be read.
        namespace: Namespace of the object.
        component: What it is there for: `trigger`, `source`, `relay`, `pin`.
        state: `ready`; `starting`, not ready and nothing known to be wrong; `failed`, not ready for a known cause;
            `missing`; or `unknown`, it may not be read.
        pods: Pods that are ready, of how many: `2/3`; empty of what runs none.
        cause: What is wrong, one of `knative.diagnosis.CAUSES`; empty while nothing is known to be.
        reason: Why it isn't ready, in words; empty when it is.
        fix: Command or edit that mends it; empty when there is none.
        since: Unix time in seconds since when it is so; None when that isn't known.
        age_s: Seconds since then, by the cluster's clock.
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
    since: float | None = None
    age_s: float | None = None

    @property
    def title(self) -> str:
        """`Trigger flowers-alarm`."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStatus:
    """A revision that gets requests.

    Attributes:
        revision: Name of the revision.
        percent: Its share of the requests.
        image: Its container image; empty when the revision may not be read.
        artifact_digest: sha256 of its artifact's manifest, hex; empty when that isn't known.
    """

    revision: str
    percent: int
    image: str = ""
    artifact_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedStatus:
    """What was deployed last, as the cluster remembers it.

    Attributes:
        sequence: Number of the deployment.
        at: Unix time in seconds, by the cluster's clock.
        age_s: Seconds since then, by the same clock.
        by: Who deployed, `USER@HOST`.
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
    """A container image that nodes keep, so that it starts without the registry.

    Attributes:
        image: The container image.
        ready: Nodes that have it.
        wanted: Nodes that are to have it.
    """

    image: str
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """One function as it is.

    Attributes:
        name: Of the function.
        state: `ready` (can answer at once), `idle` (at zero, starts at the first event), `degraded` (answers, but
            another part of the app isn't ready), `starting`, `failed`, `stopped` (nothing runs it).
        replicas: Running now.
        reason: Why it failed, empty otherwise.
        cause: On a cluster: why it failed, one of `knative.diagnosis.CAUSES`; empty otherwise.
        fix: Command or edit that mends it; empty when there is none.
        since: On a cluster: Unix time in seconds since when it isn't ready; None when it is or that isn't known.
        artifact: Directory or reference served.
        artifact_digest: sha256 of its manifest, hex.
        queued: Events accepted and not yet answered.
        dead: Events given up on and kept for inspection.
        delivered: Events that the function answered since the platform started.
        site: In its events' source.
        sources: Its sources, each with its state.
        traffic: Where there are several revisions at once: each that gets requests, with its share.
        agents: What runs its sources, each with its queue.
        pauses: Its triggers' queues that wait.
        parts: The other objects of the app that can be ready or not; on one machine its triggers and sources.
        serving: On a cluster: the revisions that get requests, as they are now.
        deployed: On a cluster: what `eaves deploy` brought last; None when the cluster has no record of a deploy.
        pinned: On a cluster: the container images that nodes keep.
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
    queued: int = 0
    dead: int = 0
    delivered: int = 0
    site: str = ""
    sources: tuple[str, ...] = ()
    traffic: tuple[str, ...] = ()
    agents: tuple[AgentStatus, ...] = ()
    pauses: tuple[LanePause, ...] = ()
    parts: tuple[PartStatus, ...] = ()
    serving: tuple[ServedStatus, ...] = ()
    deployed: DeployedStatus | None = None
    pinned: tuple[PinnedStatus, ...] = ()


def parse_status(values: Mapping[str, Any]) -> FunctionStatus:
    """Read a status that was plain data, such as `dataclasses.asdict` makes it."""
    agents = tuple(
        AgentStatus(
            **{
                **agent,
                "pauses": tuple(LanePause(**pause) for pause in agent["pauses"]),
                "sources": tuple(SourceReport(**source) for source in agent["sources"]),
                "link": None if agent.get("link") is None else LinkReport(**agent["link"]),
            }
        )
        for agent in values.get("agents", ())
    )
    pauses = tuple(LanePause(**pause) for pause in values.get("pauses", ()))
    deployed = values.get("deployed")
    told = {
        "agents": agents,
        "pauses": pauses,
        "parts": tuple(PartStatus(**part) for part in values.get("parts", ())),
        "serving": tuple(ServedStatus(**served) for served in values.get("serving", ())),
        "deployed": None if deployed is None else DeployedStatus(**deployed),
        "pinned": tuple(PinnedStatus(**pinned) for pinned in values.get("pinned", ())),
    }
    return FunctionStatus(**{**values, **told})
