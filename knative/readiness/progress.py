"""The progress of a deployment as plain values, for a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knative.diagnosis import Diagnosis, FunctionEvidence, observed
from knative.diagnosis.evidence import Object, condition, containers, is_alive, name_of
from knative.readiness.parts import READY, AppPart


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """The state of a pod, for a table on the terminal.

    Attributes:
        name: Name of the pod.
        state: State as one word: `Pending`, `ContainerCreating`, `ImagePullBackOff`, `Running`, `Ready`, `Terminating`.
        ready: Ready containers of all containers, such as `1/2`.
        restarts: Number of restarts of all its containers.
        node: Node of the pod; empty while it has none.
    """

    name: str
    state: str
    ready: str
    restarts: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentProgress:
    """The progress of a deployment, for a table on the terminal.

    Attributes:
        name: Name of the Knative Service.
        revision: Latest created revision; empty before there is one.
        ready: Condition Ready of the Service: `True`, `False` or `Unknown`.
        reason: Knative's reason why it isn't ready; empty when it is.
        pods: Pods of the latest created revision.
        traffic: Percent of requests by revision, as Knative has set it.
        parts: The other parts of the app, if the deploy waits for them.
        diagnosis: The present fault; None when there is none.
        waited_s: Seconds since the wait began.
        unreachable: Reason why the API server doesn't answer at present; the other values are then the last known ones.
            Empty when it answers.
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
        """Build rows of `what`, `state`, `detail`: the revision, its pods, unready parts, then the fault."""
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
    """Build the progress of a deployment from the evidence about its function and the diagnosis."""
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
    """Describe a pod in the words of `kubectl get pods`."""
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
