"""Readiness of parts that run pods: agents of sources, publishers, the relay, and pins of container images.

Agents have no readiness probe. So when an agent's process ends again and again, Kubernetes counts the pod as ready each
time the process runs. Here such a pod counts as ready only after it has run for a while.

Source: Kubernetes 1.36, StatefulSetStatus and DaemonSetStatus of apps/v1; pkg/controller/statefulset/
stateful_set_control.go (an OrderedReady set replaces no pod while one isn't ready); pkg/kubelet/kubelet.go (the pauses
between restarts are reset after 10 minutes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from knative.client.kinds import CONTAINER_SOURCE, DAEMON_SET, STATEFUL_SET
from knative.diagnosis.admission import explain_refusal
from knative.diagnosis.crashes import ended_state, explain_crash
from knative.diagnosis.evidence import (
    Diagnosis,
    FunctionEvidence,
    Object,
    PartEvidence,
    PartReadiness,
    condition,
    containers,
    is_alive,
    last_applied,
    name_of,
    parse_time,
    seen_at,
)
from knative.diagnosis.pods import explain_pod
from knative.readiness.conditions import judge_conditions
from knative.resources import pin, publisher, relay
from knative.resources.agent import SOURCE_LABEL
from knative.resources.metadata import APP_LABEL, PART_LABEL

WORKLOADS = frozenset(kind.kind for kind in (STATEFUL_SET, DAEMON_SET, CONTAINER_SOURCE))
"""Kinds of objects that run pods."""
STEADY_S = 10.0
"""Seconds that a pod without a readiness probe must run before it counts as ready."""
LOOPING_S = 600.0
"""Seconds after the last end of a container in which it counts as ending again and again, if it has ended three
times."""
_LOOPING = 3
_REVISION_LABEL = "controller-revision-hash"

_ROOM = "kubectl -n {namespace} describe pods -l {pods}; kubectl describe nodes | grep -A8 'Allocated resources'"
_AGENT_FIXES = {
    "knative.image": (
        "set knative.agent_image (for a camera knative.agent_camera_image, for a bucket knative.agent_s3_image) in "
        "eaves.yaml to an existing container image for the nodes' processor architecture, by digest (Dockerfile, "
        "targets agent, agent-camera and agent-s3)"
    ),
    "knative.memory_limit": "lower max_bytes of the source in eaves.yaml; the memory limit of an agent grows with it",
    "knative.memory": _ROOM,
    "knative.cpu": _ROOM,
}
"""Fix of a fault for agents, by the setting that fixes the same fault of a function: agents have other settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """Numbers of pods of a workload: wanted, ready, and of the version that was applied last."""

    wanted: int
    ready: int
    updated: int


def judge_workload(evidence: PartEvidence) -> PartReadiness:
    """Return the readiness of a workload.

    It is ready when enough pods are ready, have the version that was applied last, and keep running.
    """
    value = evidence.value
    pods = [pod for pod in evidence.pods if is_alive(pod)]
    counts = _count(value, pods)
    shown = f"{counts.ready}/{counts.wanted}"
    since = _since(value, pods)
    if (found := _explain(evidence, pods)) is not None:
        return PartReadiness(diagnosis=found, since=since, pods=shown)
    if str(value["kind"]) == CONTAINER_SOURCE.kind and not (verdict := judge_conditions(value)).ready:
        return replace(verdict, pods=shown)
    if not counts.wanted and _component(value) != pin.PART:
        return PartReadiness(diagnosis=_placed_nowhere(value), since=last_applied(value), pods=shown)
    if text := _describe_missing(counts, pods, evidence):
        return PartReadiness(detail=text, since=since, pods=shown)
    return PartReadiness(pods=shown)


def pod_labels(value: Object) -> Mapping[str, str]:
    """Return the labels that the pods of a workload have."""
    spec = value.get("spec", {})
    selector: Mapping[str, str] = spec.get("selector", {}).get("matchLabels") or {}
    return selector or spec.get("template", {}).get("metadata", {}).get("labels") or {}


def agent_of(value: Object) -> str:
    """Return the name of a workload's agent in commands, such as `FUNCTION.SOURCE`; empty for a pin."""
    labels: Mapping[str, str] = value.get("metadata", {}).get("labels") or {}
    component, name = labels.get(PART_LABEL, ""), labels.get(SOURCE_LABEL, "")
    if component == publisher.PART:
        name = f"{labels.get(publisher.TRIGGER_LABEL, '')}-mqtt"
    elif component == relay.PART:
        name = relay.PART
    return f"{labels.get(APP_LABEL, '')}.{name}" if name else ""


def run_age_s(pod: Object, now: float) -> float | None:
    """Return the seconds since the last start of a container of a pod.

    Return None when no container runs, or when the clock (`now`) isn't known.
    """
    started = [
        at
        for status in containers(pod)
        if (at := parse_time(((status.get("state") or {}).get("running") or {}).get("startedAt"))) is not None
    ]
    return now - max(started) if started and now else None


def ends_again(pod: Object, now: float) -> Object | None:
    """Return the status of a pod's container that runs now but ends again and again; None when there is none."""
    for status in containers(pod):
        restarts = int(status.get("restartCount") or 0)
        ended = parse_time(ended_state(status).get("finishedAt"))
        if not restarts or ended is None or not now:
            continue
        age_s = run_age_s(pod, now)
        young = age_s is not None and 0 <= age_s < STEADY_S
        if young or (restarts >= _LOOPING and now - ended < LOOPING_S):
            return status
    return None


def is_of_version(value: Object, pod: Object) -> bool:
    """Return whether a pod has the last applied version of its workload; True when that isn't known."""
    wanted = value.get("status", {}).get("updateRevision")
    has = (pod.get("metadata", {}).get("labels") or {}).get(_REVISION_LABEL)
    return not wanted or not has or wanted == has


def _count(value: Object, pods: Sequence[Object]) -> _Counts:
    status, kind = value.get("status", {}), str(value["kind"])
    if kind == DAEMON_SET.kind:
        wanted = int(status.get("desiredNumberScheduled") or 0)
        updated = int(status.get("updatedNumberScheduled") or 0)
        return _Counts(wanted=wanted, ready=int(status.get("numberReady") or 0), updated=updated)
    if kind == STATEFUL_SET.kind:
        wanted = int(value.get("spec", {}).get("replicas", 1))
        replacing = status.get("updateRevision") != status.get("currentRevision")
        updated = int(status.get("updatedReplicas") or 0) if replacing else wanted
        return _Counts(wanted=wanted, ready=int(status.get("readyReplicas") or 0), updated=updated)
    ready = sum(condition(pod, "Ready").get("status") == "True" for pod in pods) if pods else 0
    running = condition(value, "Ready").get("status") == "True"
    return _Counts(wanted=1, ready=ready if pods else int(running), updated=1)


def _describe_missing(counts: _Counts, pods: Sequence[Object], evidence: PartEvidence) -> str:
    """Return a text about the pods that a workload lacks; empty when it lacks none."""
    if counts.updated < counts.wanted:
        return f"{counts.updated} of {counts.wanted} pods have the version that was deployed last"
    if counts.ready < counts.wanted:
        nodes = sorted({str(pod.get("spec", {}).get("nodeName") or "") for pod in pods if not _is_ready(pod)} - {""})
        where = f", not on {', '.join(nodes[:3])}" + ("..." if len(nodes) > 3 else "") if nodes else ""
        return f"{counts.ready} of {counts.wanted} pods are ready{where}"
    if any(name_of(pod) not in evidence.steady for pod in pods):
        return f"its pod has run for less than {STEADY_S:.0f} s"
    return ""


def _explain(evidence: PartEvidence, pods: Sequence[Object]) -> Diagnosis | None:
    """Return the fault of a workload's pods; faults that do not go away by themselves come first."""
    value = evidence.value
    found = [one for pod in pods if (one := _explain_pod(evidence, pod)) is not None]
    if found:
        return min(found, key=lambda one: not one.final)
    if pods:
        return None
    refused = [event for event in evidence.events if event.get("reason") == "FailedCreate"]
    if not refused:
        return None
    latest = max(refused, key=seen_at)
    namespace = str(value["metadata"].get("namespace", ""))
    return _with_agent_fix(explain_refusal(str(latest.get("message", "")), namespace=namespace), value)


def _explain_pod(evidence: PartEvidence, pod: Object) -> Diagnosis | None:
    value, name = evidence.value, name_of(pod)
    spec = pod.get("spec", {})
    if _is_ready(pod):
        status = ends_again(pod, evidence.now)
        wanted: Object = next(
            (one for one in spec.get("containers") or () if status and one["name"] == status["name"]), {}
        )
        found = explain_crash(status, wanted, evidence.logs.get(name, ()), name) if status else None
    else:
        metadata = {"name": name_of(value), "namespace": value["metadata"].get("namespace", "")}
        seen = FunctionEvidence(
            service={"metadata": metadata},
            revision={"spec": spec},
            pods=[pod],
            events=evidence.events,
            logs=evidence.logs,
            now=evidence.now,
        )
        found = explain_pod(seen, pod)
    if found is None:
        return None
    if not is_of_version(value, pod):
        return _stuck(found, value, pod)
    return _with_agent_fix(found, value)


def _stuck(found: Diagnosis, value: Object, pod: Object) -> Diagnosis:
    """Add to a diagnosis that a pod of the previous version may have to be deleted before it is replaced."""
    return replace(
        found,
        message=f"{found.message}; this pod has the previous version, and Kubernetes may wait for it to become "
        "ready before it is replaced",
        fix=f"kubectl -n {value['metadata'].get('namespace')} delete pod {name_of(pod)}",
        final=False,
    )


def _with_agent_fix(found: Diagnosis, value: Object) -> Diagnosis:
    """Return a diagnosis with the fix for an agent if its workload is one.

    Agents have other settings than functions.
    """
    agent = agent_of(value)
    if not agent:
        return found
    if found.cause == "crash":
        return replace(found, fix=f"eaves logs {agent} --on knative")
    fix = next((fix for setting, fix in _AGENT_FIXES.items() if setting in found.fix), "")
    where = {"namespace": value["metadata"].get("namespace"), "pods": _selector(value)}
    return replace(found, fix=fix.format(**where)) if fix else found


def _placed_nowhere(value: Object) -> Diagnosis:
    selector = value.get("spec", {}).get("template", {}).get("spec", {}).get("nodeSelector") or {}
    labels = ",".join(f"{key}={label}" for key, label in selector.items())
    return Diagnosis(
        cause="unschedulable",
        message="its pod can't be scheduled on any node" + (f": no node has the labels {labels}" if labels else ""),
        fix=f"kubectl get nodes -l {labels}; change selector of the site in eaves.yaml"
        if labels
        else "kubectl get nodes",
        final=False,
    )


def _since(value: Object, pods: Sequence[Object]) -> float | None:
    """Return the Unix time since when a workload isn't ready: when its first pod became unready.

    Without pods it is the time when the workload was applied.
    """
    if not pods:
        return last_applied(value)
    times = []
    for pod in pods:
        unready = condition(pod, "PodScheduled")
        if unready.get("status") != "False":
            unready = condition(pod, "Ready")
        if unready.get("status") == "False":
            times.append(parse_time(unready.get("lastTransitionTime")))
        else:
            times += [parse_time(ended_state(status).get("finishedAt")) for status in containers(pod)]
    return min((at for at in times if at is not None), default=None)


def _is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _component(value: Object) -> str:
    return str((value.get("metadata", {}).get("labels") or {}).get(PART_LABEL, ""))


def _selector(value: Object) -> str:
    return ",".join(f"{key}={label}" for key, label in pod_labels(value).items())
