"""Explanations of pods that no node accepts, from the scheduler's message.

Source: Kubernetes 1.36, pkg/scheduler/framework/types.go (FitError.Error) and the ErrReason constants of the plugins
below pkg/scheduler/framework/plugins (noderesources, tainttoleration, nodeaffinity, volumebinding, volumezone).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from eaves.platform.quantities import parse_quantity
from knative.diagnosis.evidence import Diagnosis, Object, quote
from knative.resources.pod import show_cpu, show_memory

_AFTER = re.compile(r"(no new claims to deallocate|preemption: ).*", re.DOTALL)
"""Text at the end of a scheduler's message, about pods that it could evict; it is removed, since it is never the
reason."""
_VOLUME = re.compile(
    r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"([^\"]+)\" (not found|is being deleted)"
    r"|available persistent volumes to bind|PersistentVolume's node affinity|bound to non-existent pv"
    r"|no available volume zone|enough free storage"
)
_INSUFFICIENT = re.compile(r"\d+ Insufficient ([a-z0-9./-]*[a-z0-9])")
_TAINT = re.compile(r"untolerated taints? ?\{([^:}]+)|untolerated taint\(s\)|taints that the pod didn't tolerate")
_SELECTOR = re.compile(r"node affinity/selector|node selector")


def explain_scheduling(message: str, pod: Object) -> Diagnosis:
    """Explain why no node accepts a pod. The diagnosis is never final, since nodes may be added or get free resources.

    Args:
        message: Message of the pod's condition PodScheduled.
        pod: The pod; only its spec, name and namespace are read.
    """
    shown = quote(_AFTER.sub("", message))
    if (volume := _VOLUME.search(message)) is not None:
        return _unbound(shown, volume[1], pod)
    wanted = _requests(pod.get("spec", {}))
    resource = _INSUFFICIENT.search(message)
    # A device comes before a selector, which no node but one fits of a DaemonSet's pod.
    if resource is not None and "/" in resource[1]:
        return _unschedulable(f"{_wants(resource[1], wanted)}; {shown}", _device_fix(resource[1]))
    # Reasons that are permanent on every node come first; a full node may have room tomorrow.
    if _SELECTOR.search(message):
        return _unschedulable(shown, _selector_fix(pod))
    if resource is not None:
        return _unschedulable(f"{_wants(resource[1], wanted)}; {shown}", _room_fix(resource[1], wanted))
    if (taint := _TAINT.search(message)) is not None:
        key = taint[1] or "KEY"
        return _unschedulable(
            shown,
            "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints; this command removes a "
            f"taint: kubectl taint node NODE {key}-",
        )
    return _unschedulable(shown, "kubectl describe nodes")


def _unschedulable(message: str, fix: str) -> Diagnosis:
    return Diagnosis(
        cause="unschedulable", message=f"the pod can't be scheduled on any node: {message}", fix=fix, final=False
    )


def _unbound(message: str, claim: str | None, pod: Object) -> Diagnosis:
    namespace = pod.get("metadata", {}).get("namespace", "")
    shown = f" {claim}" if claim else ""
    return Diagnosis(
        cause="unschedulable",
        message=f"a volume that the pod needs does not exist: {message}",
        fix=f"kubectl -n {namespace} get persistentvolumeclaims{shown}; volumes are created only if the cluster "
        "has a default storage class (kubectl get storageclasses)",
        final=False,
    )


def _selector_fix(pod: Object) -> str:
    spec = pod.get("spec", {})
    selector = spec.get("nodeSelector") or {}
    if not selector:
        return "kubectl get nodes --show-labels"
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    return (
        f"kubectl get nodes -l {labels}; if no node is listed: kubectl label node NODE "
        f"{labels.replace(',', ' ')}, or change selector of the site, or nodes of the source, in eaves.yaml"
    )


def _wants(resource: str, wanted: Mapping[str, float]) -> str:
    show = {"cpu": show_cpu, "memory": show_memory}.get(resource)
    return (
        f"it requests {show(wanted[resource])} {resource}" if show and resource in wanted else f"it requests {resource}"
    )


def _room_fix(resource: str, wanted: Mapping[str, float]) -> str:
    seen = "kubectl describe nodes | grep -A8 'Allocated resources'"
    if resource not in {"cpu", "memory"} or resource not in wanted:
        return seen
    return f"lower knative.{resource} in eaves.yaml, or free resources on a node: {seen}"


def _device_fix(resource: str) -> str:
    shown = resource.replace(".", "\\.")
    return (
        f"kubectl get nodes -o custom-columns='NAME:.metadata.name,DEVICES:.status.allocatable.{shown}' shows where a "
        "device plugin provides it; `nodes` of the source in eaves.yaml selects nodes by their labels"
    )


def _requests(spec: Object) -> dict[str, float]:
    """Return the sum of the resource requests of all containers of a pod, by resource."""
    total: dict[str, float] = {}
    for container in spec.get("containers") or []:
        for resource, text in ((container.get("resources") or {}).get("requests") or {}).items():
            total[resource] = total.get(resource, 0.0) + (parse_quantity(text) or 0.0)
    return total
