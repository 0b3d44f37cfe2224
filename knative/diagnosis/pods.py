"""Explanations of pods that aren't ready: not scheduled, evicted, or with containers that wait, end or aren't ready.

Source: Kubernetes 1.36, PodStatus and ContainerState of core/v1, and the reasons of kubelet events
(pkg/kubelet/events/event.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from knative.diagnosis.crashes import (
    CONFIGURATION,
    STARTING,
    explain_configuration,
    explain_crash,
    explain_log,
    explain_readiness,
    explain_start,
)
from knative.diagnosis.evidence import (
    SIDECAR,
    USER_CONTAINER,
    Diagnosis,
    FunctionEvidence,
    Object,
    condition,
    containers,
    name_of,
    quote,
    seen_at,
)
from knative.diagnosis.image_pulls import REASONS, ImagePull, explain_pull, reason_from_events
from knative.diagnosis.scheduling import explain_scheduling

_MOUNTS = ("FailedMount", "FailedAttachVolume")
_SANDBOX = "FailedCreatePodSandBox"


def explain_pod(evidence: FunctionEvidence, pod: Object) -> Diagnosis | None:
    """Explain why a pod isn't ready; return None when it is, or when it only needs more time."""
    status = pod.get("status", {})
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return explain_scheduling(str(scheduled.get("message", "")), pod)
    if status.get("reason") == "Evicted":
        return _evicted(pod, str(status.get("message", "")))
    for container in containers(pod):
        found = _explain_container(evidence, pod, container)
        if found is not None:
            return found
    return _explain_waiting(evidence, pod) or _explain_running(evidence, pod)


def pull_of(
    evidence: FunctionEvidence, reason: str, message: str, *, pod: Object | None = None, container: Object | None = None
) -> ImagePull:
    """Build the description of a failed pull from a pod's container, or from the Revision when there is no pod."""
    secrets = (pod or {}).get("spec", {}).get("imagePullSecrets") or (evidence.revision or {}).get("spec", {}).get(
        "imagePullSecrets", []
    )
    container = container or {}
    image = image_of(evidence, pod, str(container.get("name", "")))
    events = [str(event.get("message", "")) for event in events_of(evidence, pod)] if pod else []
    return ImagePull(
        image=image,
        reason=reason,
        message=reason_from_events(message, events),
        namespace=evidence.namespace,
        secrets=[str(secret.get("name", "")) for secret in secrets],
        sidecar=container.get("name") == SIDECAR,
        node="" if reason == "ContainerMissing" else str((pod or {}).get("spec", {}).get("nodeName") or "NODE"),
    )


def image_of(evidence: FunctionEvidence, pod: Object | None, container: str) -> str:
    """Return the name of the container image of a container, as in the pod's spec.

    The status of the container may have another name of the same container image, the one that the node uses.
    """
    asked = (pod or {}).get("spec", {}).get("containers") or ()
    found = next((one.get("image") for one in asked if one.get("name") == container), None)
    return str(found or evidence.container.get("image", ""))


def _explain_container(evidence: FunctionEvidence, pod: Object, container: Object) -> Diagnosis | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in REASONS:
        return explain_pull(pull_of(evidence, reason, message, pod=pod, container=container))
    if reason in CONFIGURATION:
        return explain_configuration(message, evidence.namespace)
    if reason in STARTING:
        return explain_start(reason, message, image_of(evidence, pod, str(container.get("name", ""))))
    return None if container.get("ready") else _explain_end(evidence, pod, container)


def _explain_end(evidence: FunctionEvidence, pod: Object, container: Object) -> Diagnosis | None:
    own = container.get("name") != SIDECAR
    return explain_crash(
        container,
        evidence.container if own else {"image": image_of(evidence, pod, SIDECAR)},
        evidence.logs.get(name_of(pod), ()) if own else (),
        f"-n {evidence.namespace} {name_of(pod)} -c {container.get('name', USER_CONTAINER)}",
    )


def _explain_waiting(evidence: FunctionEvidence, pod: Object) -> Diagnosis | None:
    """Explain from Events why the containers of a pod don't exist yet; return None without a known Event.

    The pod's status doesn't contain the reason, such as a volume that can't be mounted.
    """
    if not any((one.get("state") or {}).get("waiting", {}).get("reason") for one in containers(pod)):
        return None
    describe = f"kubectl -n {evidence.namespace} describe pod {name_of(pod)}"
    for event in reversed(list(events_of(evidence, pod))):
        reason, message = str(event.get("reason", "")), str(event.get("message", ""))
        if reason in _MOUNTS:
            return Diagnosis(
                cause="configuration", message=f"a volume can't be mounted: {quote(message)}", fix=describe, final=False
            )
        if reason == _SANDBOX:
            return Diagnosis(
                cause="configuration",
                message=f"the node can't set up the pod: {quote(message)}",
                fix=f"{describe}; the cause is mostly the node's network or container runtime",
                final=False,
            )
    return None


def _explain_running(evidence: FunctionEvidence, pod: Object) -> Diagnosis | None:
    """Explain why a running function isn't ready: from its answer, its log, or the end of its previous process."""
    if condition(pod, "Ready").get("status") == "True":
        return None
    name = name_of(pod)
    problem = evidence.readiness.get(name)
    own = explain_log(evidence.logs.get(name, ())) if problem is None else explain_readiness(problem)
    if own is not None:
        return own
    ends = (_explain_end(evidence, pod, one) for one in containers(pod) if one.get("name") != SIDECAR)
    return next((found for found in ends if found is not None), None)


def _evicted(pod: Object, message: str) -> Diagnosis:
    node = str(pod.get("spec", {}).get("nodeName", "NODE"))
    return Diagnosis(
        cause="unschedulable",
        message=f"the node {node} has evicted the pod: {quote(message)}",
        fix=f"kubectl describe node {node} | grep -A8 Conditions",
        final=False,
    )


def events_of(evidence: FunctionEvidence, value: Object) -> Iterator[Object]:
    """Yield the Events about an object, oldest first."""
    uid, name = value.get("metadata", {}).get("uid"), name_of(value)
    about = [
        event
        for event in evidence.events
        if event.get("involvedObject", {}).get("uid", uid) == uid
        and event.get("involvedObject", {}).get("name") == name
    ]
    yield from sorted(about, key=seen_at)
