"""Checks of the namespace: whether it exists, its Pod Security, quotas and limit ranges, and storage for agents.

Source: https://kubernetes.io/docs/concepts/security/pod-security-admission/ (labels), resource quotas and limit ranges
as in `knative.diagnosis.admission`; storageclass.kubernetes.io/is-default-class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from eaves.platform.quantities import parse_quantity
from knative.client.kinds import CLAIM, LIMIT_RANGE, NAMESPACE, RESOURCE_QUOTA, STORAGE_CLASS
from knative.diagnosis.admission import RESOURCE_DEFAULTS
from knative.doctor.cluster.nodes import requests_of
from knative.doctor.context import ExaminedSite, PlannedPod
from knative.doctor.finding import DoctorFinding, error, note, ok, warning
from knative.resources.function import function_resources
from knative.resources.pod import show_cpu, show_memory
from knative.resources.sources import SourceRunner, find_runner

LEVEL_LABEL = "pod-security.kubernetes.io/enforce"
LEVELS = ("privileged", "baseline", "restricted")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def check_namespace(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that each namespace of the app's pods exists and that its Pod Security level accepts them."""
    made = {str(one["metadata"]["name"]) for one in subject.manifests if one["kind"] == NAMESPACE.kind}
    for name in sorted({subject.namespace, *(pod.namespace for pod in subject.pods())}):
        namespace = subject.cluster.get(NAMESPACE, name, namespace="")
        if namespace is None:
            if name not in made:
                yield error("namespace", f"the namespace {name} does not exist", f"kubectl create namespace {name}")
            continue
        if namespace["metadata"].get("deletionTimestamp"):
            yield error("namespace", f"the namespace {name} is being deleted", f"kubectl get namespace {name} -o yaml")
            continue
        level = (namespace["metadata"].get("labels") or {}).get(LEVEL_LABEL, LEVELS[0])
        if name in made:
            level = LEVELS[0]  # `deploy` sets this label
        yield from _check_level(subject, name, level)


def _check_level(subject: ExaminedSite, name: str, level: str) -> Iterator[DoctorFinding]:
    refused = [pod for pod in subject.pods() if pod.namespace == name and _wants(pod) not in _allowed(level)]
    for pod in refused:
        yield error(
            "namespace",
            f"the namespace {name} enforces Pod Security {level}, but {pod.by} needs {_wants(pod)}, so its pods "
            "can't be created",
            f"kubectl label namespace {name} --overwrite {LEVEL_LABEL}={_wants(pod)}",
        )
    if not refused:
        yield ok("namespace", f"the namespace {name} exists and accepts every pod of the app (Pod Security {level})")


def _wants(pod: PlannedPod) -> str:
    """Return the strictest Pod Security level that accepts a pod.

    Only pods with folders of the node, or with a container that runs as root, need a lower level than `restricted`.
    """
    if any("hostPath" in volume for volume in pod.spec.get("volumes", ())):
        return LEVELS[0]
    users = [(container.get("securityContext") or {}).get("runAsUser") for container in pod.spec.get("containers", ())]
    return LEVELS[1] if 0 in users else LEVELS[2]


def _allowed(level: str) -> tuple[str, ...]:
    return LEVELS[LEVELS.index(level) :] if level in LEVELS else LEVELS


def check_quota(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check whether the quotas of the namespace have room for one replica, and accept its containers."""
    function = next((pod for pod in subject.pods() if pod.knative), None)
    if function is None:
        return
    ranges = subject.cluster.list(LIMIT_RANGE, namespace=subject.namespace)
    defaults = {
        resource
        for one in ranges
        for limit in one["spec"].get("limits", ())
        if limit.get("type") == "Container"
        for resource in {**limit.get("default", {}), **limit.get("max", {})}
    }
    found = False
    for quota in subject.cluster.list(RESOURCE_QUOTA, namespace=subject.namespace):
        for finding in (*_check_limits(subject, quota, defaults), *_check_room(subject, quota, function)):
            found = True
            yield finding
    if not found:
        yield ok("quota", f"no quota of {subject.namespace} prevents a new replica")
    if ranges:
        names = ", ".join(str(one["metadata"]["name"]) for one in ranges)
        yield note(
            "quota",
            f"the limit ranges of {subject.namespace} ({names}) apply to every container, also to Knative's "
            "sidecar, which requests 25m CPU and 50Mi memory",
            f"kubectl -n {subject.namespace} describe limitrange",
        )


def _check_limits(subject: ExaminedSite, quota: Mapping[str, Any], defaults: set[str]) -> Iterator[DoctorFinding]:
    """Check a quota that requires a limit for every container.

    The function may have no limit, and Knative's sidecar has none.
    """
    name = quota["metadata"]["name"]
    for resource in ("cpu", "memory"):
        if f"limits.{resource}" not in (quota["spec"].get("hard") or {}) or resource in defaults:
            continue
        features = subject.config("config-features").get(RESOURCE_DEFAULTS, "disabled").lower()
        own = function_resources(subject.settings, subject.site).get("limits", {}).get(resource)
        if features != "enabled":
            patch = '\'{"data":{"queueproxy.resource-defaults":"enabled"}}\''
            yield error(
                "quota",
                f"the quota {name} requires a {resource} limit for every container, and Knative's sidecar has none",
                f"kubectl -n knative-serving patch configmap config-features --type merge -p {patch}",
            )
        if not own:
            yield error(
                "quota",
                f"the quota {name} requires a {resource} limit for every container, and the function has none",
                f"set knative.pod.resources.limits.{resource} in eaves.yaml",
            )


def _check_room(subject: ExaminedSite, quota: Mapping[str, Any], function: PlannedPod) -> Iterator[DoctorFinding]:
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    hard, used = status.get("hard") or quota["spec"].get("hard") or {}, status.get("used") or {}
    wanted = requests_of(function)
    checks: list[tuple[str, float, Callable[[float], str]]] = [("pods", 1.0, lambda count: f"{count:g}")]
    checks += [(f"{prefix}{key}", wanted[key], show) for key, show in _SHOWN.items() for prefix in ("requests.", "")]
    for resource, amount, show in checks:
        if resource not in hard:
            continue
        left = (parse_quantity(hard[resource]) or 0.0) - (parse_quantity(used.get(resource, 0)) or 0.0)
        if amount > left:
            yield warning(
                "quota",
                f"the quota {name} has {show(max(0.0, left))} {resource} left, but one more replica requests "
                f"{show(amount)}; a new revision runs beside the old one",
                f"kubectl -n {subject.namespace} describe resourcequota {name}",
            )


_SHOWN = {"cpu": show_cpu, "memory": show_memory}


def check_storage(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the volumes of the app: claims of watched folders, and a default storage class for spools."""
    agents = [source for source in subject.app.sources if find_runner(source) is not SourceRunner.NODE]
    for source in agents:
        claim = subject.cluster.get(CLAIM, source.claim, namespace=subject.namespace) if source.claim else None
        if source.claim and claim is None:
            yield error(
                "storage",
                f"the PersistentVolumeClaim {source.claim} of the source {source.name} does not exist in "
                f"{subject.namespace}",
                f"kubectl -n {subject.namespace} get persistentvolumeclaims; create the claim, or set claim of "
                "the source in eaves.yaml",
            )
    spools = any(find_runner(source) in {SourceRunner.CLAIM, SourceRunner.SERVICE} for source in agents)
    if not spools and not any(trigger.is_mqtt for trigger in subject.app.triggers):
        return
    classes = subject.cluster.list(STORAGE_CLASS, namespace="")
    default = [
        str(one["metadata"]["name"])
        for one in classes
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    if default:
        yield ok(
            "storage",
            f"the default storage class {default[0]} provides the volumes for spools of agents, publishers and relays",
        )
        return
    name = str(classes[0]["metadata"]["name"]) if classes else "NAME"
    patch = f'\'{{"metadata":{{"annotations":{{"{_DEFAULT_CLASS}":"true"}}}}}}\''
    yield error(
        "storage",
        "the cluster has no default storage class: spools of agents, publishers and relays get no volume",
        f"kubectl patch storageclass {name} -p {patch}",
    )
