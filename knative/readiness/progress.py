"""Where a deployment stands, in plain values for a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knative.diagnosis import Diagnosis, FunctionEvidence, observed
from knative.diagnosis.evidence import Object, condition, containers, is_alive, name_of
from knative.readiness.parts import READY, AppPart


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """One pod, for a table.

    Attributes:
        name: Of the pod.
        state: A word: `Pending`, `ContainerCreating`, `ImagePullBackOff`, `Running`, `Ready`, `Terminating`.
        ready: Containers that are ready, of how many: `1/2`.
        restarts: Of all its containers.
        node: Where it is placed; empty: nowhere yet.
    """

    name: str
    state: str
    ready: str
    restarts: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentProgress:
    """Where a deployment stands.

    Attributes:
        name: Of the Knative Service.
        revision: The latest created one; empty before there is one.
        ready: `True`, `False` or `Unknown`, of the Service.
        reason: Knative's word for why not; empty when it is ready.
        pods: Of that revision.
        traffic: Share of requests in percent by revision, as Knative has set it.
        parts: The other parts of the app, where they are waited for.
        diagnosis: What is wrong just now; None when nothing is.
        waited_s: Seconds since waiting began.
        unreachable: Why the API server doesn't answer just now, and the rest is what was seen last; empty: it answers.
    """

    name: str
    revision: str = ""
    ready: str = "Unknown"
    reason: str = ""
    pods: Sequence[PodState] = ()
    traffic: Mapping[str, int] = field(default_factory=dict)
    parts: Sequence[AppPart] = ()
    diagnosis: Diagnosis | None = None
    waited_s: float = 0.0
    unreachable: str = ""

    def rows(self) -> list[dict[str, str]]:
        """The same as rows of `what`, `state`, `detail`: the revision, its pods, unready parts, then what is wrong."""
        shares = ", ".join(f"{percent} % {revision}" for revision, percent in self.traffic.items())
        state = "ready" if self.ready == "True" else f"not ready ({self.reason})" if self.reason else "not ready"
        rows = [{"what": self.revision or self.name, "state": state, "detail": shares}]
        rows += [{"what": pod.name, "state": pod.state, "detail": _detail(pod)} for pod in self.pods]
        rows += [
            {"what": part.title, "state": part.diagnosis.cause if part.diagnosis else part.state, "detail": part.reason}
            for part in self.parts
            if part.state != READY
        ]
        if self.unreachable:
            rows.append({"what": "cluster", "state": "no answer", "detail": self.unreachable})
        elif self.diagnosis is not None:
            rows.append({"what": "cause", "state": self.diagnosis.cause, "detail": self.diagnosis.message})
        return rows


def build_progress(evidence: FunctionEvidence, found: Diagnosis | None) -> DeploymentProgress:
    """What a table shows of what was seen."""
    status = evidence.service.get("status", {})
    state = condition(evidence.service, "Ready") if observed(evidence.service) else {"reason": "OutOfDate"}
    shares = status.get("traffic") or []
    return DeploymentProgress(
        name=evidence.name,
        revision=str(status.get("latestCreatedRevisionName", "")),
        ready=str(state.get("status", "Unknown")),
        reason=str(state.get("reason", "")),
        pods=[pod_state(pod) for pod in evidence.pods],
        traffic={str(share.get("revisionName", "")): int(share.get("percent") or 0) for share in shares},
        diagnosis=found,
    )


def pod_state(pod: Object) -> PodState:
    """A pod in a few words, the ones that `kubectl get pods` has."""
    statuses = list(containers(pod))
    spec = pod.get("spec", {})
    return PodState(
        name=name_of(pod),
        state=_word(pod, statuses),
        ready=f"{sum(bool(one.get('ready')) for one in statuses)}/{len(statuses) or len(spec.get('containers', []))}",
        restarts=sum(int(one.get("restartCount") or 0) for one in statuses),
        node=str(spec.get("nodeName", "")),
    )


def _word(pod: Object, statuses: Sequence[Object]) -> str:
    if not is_alive(pod):
        return "Terminating"
    for one in statuses:
        state = one.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", "Pending"))
    if condition(pod, "Ready").get("status") == "True":
        return "Ready"
    status = pod.get("status", {})
    return str(status.get("reason") or status.get("phase", "Pending"))


def _detail(pod: PodState) -> str:
    restarts = f", restarted {pod.restarts} times" if pod.restarts else ""
    return f"{pod.ready}{restarts}" + (f" on {pod.node}" if pod.node else "")
