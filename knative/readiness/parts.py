"""The parts of an app (its objects other than the function), each with its readiness and the reason."""

from __future__ import annotations

from dataclasses import dataclass

from knative.client.kinds import BROKER, ObjectKind, kind_of
from knative.diagnosis.evidence import Diagnosis, Object, PartEvidence, PartReadiness, last_applied, name_of
from knative.readiness.conditions import judge_conditions
from knative.readiness.workloads import WORKLOADS, judge_workload
from knative.resources.metadata import PART_LABEL

READY, STARTING, FAILED, MISSING, UNKNOWN = "ready", "starting", "failed", "missing", "unknown"
UNSEEN = "controller"
"""Value of `Diagnosis.cause` when an object's controller hasn't processed the object's last change."""
UNSEEN_S = 15.0
"""Maximum seconds that a controller may take to process a change of an object before that counts as a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPart:
    """A part of an app: one of its objects other than the function, with its readiness.

    Attributes:
        kind: Kind of the object.
        name: Name of the object; `*` for all objects of the kind, when the user may not read them.
        namespace: Namespace of the object.
        component: Part of the app, the value of the label `knative.resources.metadata.PART_LABEL`.
        state: `ready`; `starting` when it isn't ready and no fault is known; `failed` when it isn't ready for the
            reason in `diagnosis`; `missing`; or `unknown` when the user may not read it.
        detail: Description of what is missing when no fault is known; empty when nothing is missing.
        diagnosis: Fault of the part; None while no fault is known.
        since: Unix time in seconds since when the part is in this state; None when that isn't known.
        pods: Ready pods of all pods, such as `2/3`; empty when it runs none.
    """

    kind: str
    name: str
    namespace: str
    component: str = ""
    state: str = READY
    detail: str = ""
    diagnosis: Diagnosis | None = None
    since: float | None = None
    pods: str = ""

    @property
    def title(self) -> str:
        """Kind and name of the part for people, such as `Trigger flowers-alarm`."""
        return f"{self.kind} {self.name}"

    @property
    def reason(self) -> str:
        """Reason for people why the part isn't ready; empty when it is."""
        return self.diagnosis.message if self.diagnosis is not None else self.detail


def judge_part(evidence: PartEvidence) -> AppPart:
    """Return a part of an app with its readiness, from the evidence about it.

    Pure: the result depends only on the evidence.
    """
    value = evidence.value
    metadata = value["metadata"]
    if value.get("status", {}).get("observedGeneration") != metadata.get("generation"):
        verdict = _judge_unseen(value, evidence.now)
    elif value["kind"] in WORKLOADS:
        verdict = judge_workload(evidence)
    else:
        verdict = judge_conditions(value)
    return AppPart(
        kind=str(value["kind"]),
        name=name_of(value),
        namespace=str(metadata.get("namespace", "")),
        component=str((metadata.get("labels") or {}).get(PART_LABEL, "")),
        state=READY if verdict.ready else FAILED if verdict.diagnosis is not None else STARTING,
        detail=verdict.detail,
        diagnosis=verdict.diagnosis,
        since=verdict.since,
        pods=verdict.pods,
    )


def missing_part(kind: ObjectKind, name: str, namespace: str) -> AppPart:
    """Build the `AppPart` of an object that should exist and doesn't."""
    fix = "eaves deploy --on knative"
    if kind is BROKER:
        fix = (
            "set knative.create_broker in eaves.yaml to yes, or knative.broker to an existing Broker: kubectl -n "
            f"{namespace} get brokers"
        )
    found = Diagnosis(cause="missing", message=f"it does not exist in the namespace {namespace}", fix=fix, final=False)
    return AppPart(kind=kind.kind, name=name, namespace=namespace, state=MISSING, diagnosis=found)


def unknown_part(kind: ObjectKind, namespace: str, reason: str) -> AppPart:
    """Build the `AppPart` that stands for all objects of a kind that the user may not read."""
    return AppPart(kind=kind.kind, name="*", namespace=namespace, state=UNKNOWN, detail=reason)


def _judge_unseen(value: Object, now: float) -> PartReadiness:
    """Return the readiness of an object whose controller hasn't processed its last change yet."""
    applied = last_applied(value)
    if not (now and applied and now - applied > UNSEEN_S):
        return PartReadiness(detail="its controller has not processed it yet", since=applied)
    where = "knative-eventing" if kind_of(value).group.endswith("knative.dev") else "kube-system"
    found = Diagnosis(
        cause=UNSEEN,
        message=f"its controller has not processed the change that was applied {now - applied:.0f} s ago",
        fix=f"kubectl -n {where} get pods",
        final=False,
    )
    return PartReadiness(diagnosis=found, since=applied)
