"""Check of the nodes that may run the function: their number, their state, and their free resources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eaves.platform.quantities import parse_quantity
from knative.diagnosis.evidence import condition, name_of
from knative.doctor.context import ExaminedSite, PlannedPod
from knative.doctor.finding import DoctorFinding, error, note, ok, warning
from knative.resources.pod import show_cpu, show_memory

_SIDECAR = {"cpu": 0.025, "memory": 50 * 2.0**20}
"""CPUs and bytes that Knative's sidecar requests; annotations of our Knative Service set them."""
_PRESSURES = {
    "DiskPressure": "its disk is nearly full",
    "MemoryPressure": "its memory is nearly used up",
    "PIDPressure": "its process IDs are nearly used up",
}


def check_nodes(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the nodes that the site's selector chooses: their state, CPU architecture and size."""
    selector = ",".join(f"{key}={value}" for key, value in subject.site.selector.items())
    chosen = subject.edge
    if not chosen:
        what = (
            f"none of the cluster's {len(subject.nodes)} nodes has the labels {selector} of the site's selector"
            if selector
            else "the cluster has no nodes"
        )
        yield error(
            "nodes",
            what,
            f"kubectl label node NODE {selector.replace(',', ' ')}" if selector else "kubectl get nodes",
        )
        return
    usable = [node for node in chosen if _is_ready(node) and not node["spec"].get("unschedulable")]
    if not usable:
        yield error("nodes", f"none of {len(chosen)} nodes is ready and accepts pods", "kubectl get nodes")
        return
    yield from _check_state(chosen)
    of = f" (of {len(subject.nodes)} in the cluster, chosen by {selector})" if selector else ""
    yield ok("nodes", f"{len(usable)} of {len(chosen)} nodes are ready{of}: {_kinds(usable)}")
    kinds = sorted({_arch(node) for node in usable})
    if len(kinds) > 1:
        platforms = " ".join(f"--platform linux/{kind}" for kind in kinds)
        yield note(
            "nodes",
            f"the nodes have several processor architectures ({', '.join(kinds)}): the container image must have "
            "a variant for each",
            f"eaves package ARTIFACT -t REFERENCE --base BASE {platforms}",
        )
    yield from _check_room(subject, usable)


def _is_ready(node: Mapping[str, Any]) -> bool:
    return condition(node, "Ready").get("status") == "True"


def _arch(node: Mapping[str, Any]) -> str:
    return str((node["metadata"].get("labels") or {}).get("kubernetes.io/arch", "unknown"))


def _kinds(nodes: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(_arch(node) for node in nodes)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _check_state(nodes: Sequence[Mapping[str, Any]]) -> Iterator[DoctorFinding]:
    for node in nodes:
        name = name_of(node)
        if not _is_ready(node):
            yield warning(
                "nodes",
                f"node {name} is not ready: {condition(node, 'Ready').get('message', 'it gives no reason')}",
                f"kubectl describe node {name}",
            )
            continue
        for kind, text in _PRESSURES.items():
            if condition(node, kind).get("status") == "True":
                yield warning(
                    "nodes",
                    f"node {name} reports {kind}: {text}; it evicts pods and deletes unused container images",
                    f"kubectl describe node {name}",
                )
        if node["spec"].get("unschedulable"):
            yield note("nodes", f"node {name} accepts no new pods (it is cordoned)", f"kubectl uncordon {name}")


def _check_room(subject: ExaminedSite, nodes: Sequence[Mapping[str, Any]]) -> Iterator[DoctorFinding]:
    """Check whether the largest node is large enough for one replica, without the other pods on it.

    How much of a node is in use is known only when a pod is scheduled.
    """
    made = next((made for made in subject.pods() if made.knative), None)
    if made is None:
        return
    wanted = requests_of(made)
    for resource, show in (("cpu", show_cpu), ("memory", show_memory)):
        largest = max(_allocatable(node, resource) for node in nodes)
        if wanted[resource] > largest:
            yield error(
                "nodes",
                f"a replica requests {show(wanted[resource])} {resource}, Knative's sidecar included, but the "
                f"largest node has only {show(largest)}",
                f"lower knative.{resource} in eaves.yaml",
            )


def requests_of(made: PlannedPod) -> dict[str, float]:
    """Return the CPUs and bytes that a pod requests, Knative's sidecar included."""
    total = dict(_SIDECAR) if made.knative else dict.fromkeys(_SIDECAR, 0.0)
    for container in made.spec.get("containers", ()):
        asked = (container.get("resources") or {}).get("requests") or {}
        for resource in total:
            total[resource] += parse_quantity(asked.get(resource, 0)) or 0.0
    return total


def _allocatable(node: Mapping[str, Any], resource: str) -> float:
    return parse_quantity((node.get("status", {}).get("allocatable") or {}).get(resource, 0)) or 0.0
