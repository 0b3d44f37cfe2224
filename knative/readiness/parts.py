"""The objects of an app beside its function, each with whether it is ready, why not, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from knative.client.kinds import BROKER, ObjectKind, kind_of
from knative.diagnosis.evidence import Diagnosis, Object, PartEvidence, PartReadiness, last_applied, name_of
from knative.readiness.conditions import judge_conditions
from knative.readiness.workloads import WORKLOADS, judge_workload
from knative.resources.fields.labels import PART_LABEL

READY, STARTING, FAILED, MISSING, UNKNOWN = "ready", "starting", "failed", "missing", "unknown"
UNSEEN_S = 15.0
"""How long a controller may take to look at an object before that is called wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPart:
    """One object of an app beside its function.

    Attributes:
        kind: Kind of the object.
        name: Name of the object; `*`: all objects of the kind, which may not be read.
        namespace: Namespace of the object.
        component: What it is there for, as the label `knative.resources.fields.labels.PART_LABEL` says.
        state: `ready`; `starting`, not ready and nothing known to be wrong; `failed`, not ready for the reason in
            `diagnosis`; `missing`; or `unknown`, it may not be read.
        said: What is missing, where nothing is known to be wrong.
        diagnosis: What is wrong; None while nothing is known to be.
        since: Unix seconds since when it is so; None when that isn't known.
        pods: Pods that are ready, of how many: `2/3`; empty of what runs none.
    """

    kind: str
    name: str
    namespace: str
    component: str = ""
    state: str = READY
    said: str = ""
    diagnosis: Diagnosis | None = None
    since: float | None = None
    pods: str = ""

    @property
    def title(self) -> str:
        """`Trigger flowers-alarm`."""
        return f"{self.kind} {self.name}"

    @property
    def reason(self) -> str:
        """Why it isn't ready, in words; empty when it is."""
        return self.diagnosis.message if self.diagnosis is not None else self.said


def judge_part(evidence: PartEvidence) -> AppPart:
    """Whether a part is ready.

    Pure: what is told hangs on the evidence alone.
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
        said=verdict.said,
        diagnosis=verdict.diagnosis,
        since=verdict.since,
        pods=verdict.pods,
    )


def missing_part(kind: ObjectKind, name: str, namespace: str) -> AppPart:
    """A part that should be there and isn't."""
    fix = "eaves deploy --on knative"
    if kind is BROKER:
        fix = (
            "set knative.create_broker in eaves.yaml to yes, or knative.broker to one that is there: kubectl -n "
            f"{namespace} get brokers"
        )
    found = Diagnosis(cause="missing", message=f"it is not in the namespace {namespace}", fix=fix, final=False)
    return AppPart(kind=kind.kind, name=name, namespace=namespace, state=MISSING, diagnosis=found)


def unknown_part(kind: ObjectKind, namespace: str, reason: str) -> AppPart:
    """The parts of a kind that may not be read."""
    return AppPart(kind=kind.kind, name="*", namespace=namespace, state=UNKNOWN, said=reason)


def _judge_unseen(value: Object, now: float) -> PartReadiness:
    """An object that its controller hasn't looked at since it was applied."""
    applied = last_applied(value)
    if not (now and applied and now - applied > UNSEEN_S):
        return PartReadiness(said="its controller has not looked at it yet", since=applied)
    where = "knative-eventing" if kind_of(value).group.endswith("knative.dev") else "kube-system"
    found = Diagnosis(
        cause="controller",
        message=f"its controller has not looked at what was applied {now - applied:.0f} s ago",
        fix=f"kubectl -n {where} get pods",
        final=False,
    )
    return PartReadiness(diagnosis=found, since=applied)
