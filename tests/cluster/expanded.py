"""A Knative Service and what it expands into, as a cluster has them: short ways to make them for tests."""

from collections.abc import Mapping
from typing import Any

NAMESPACE = "cams"
NAME = "flowers"
REVISION = "flowers-00001"
POD = "flowers-00001-deployment-5c69c499f5-h6mcv"
IMAGE = "registry.test:5000/flowers@sha256:" + "0f" * 32
APPLIED = "2026-11-25T09:53:00Z"
APPLIED_S = 1795600380.0
Manifest = dict[str, Any]
LABELS = {
    "serving.knative.dev/service": NAME,
    "serving.knative.dev/revision": REVISION,
    "serving.knative.dev/configuration": NAME,
}
LOADING = 'Configuration "flowers" is waiting for a Revision to become ready.'


def condition(kind: str, status: str, reason: str = "", message: str = "", *, since: str = APPLIED) -> Manifest:
    found = {"type": kind, "status": status, "lastTransitionTime": since}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def service(*conditions: Manifest, generation: int = 1, observed: int | None = None, **status: Any) -> Manifest:
    """A Knative Service; without conditions its revision is on its way."""
    if not conditions:
        unknown = [condition(kind, "Unknown", "RevisionMissing", LOADING) for kind in ("Ready", "RoutesReady")]
        conditions = (*unknown, condition("ConfigurationsReady", "Unknown"))
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "generation": generation,
            "creationTimestamp": APPLIED,
            "uid": "u-service",
        },
        "spec": {},
        "status": {
            "conditions": list(conditions),
            "observedGeneration": generation if observed is None else observed,
            "latestCreatedRevisionName": REVISION,
            **status,
        },
    }


def ready_service(**status: Any) -> Manifest:
    kinds = ("ConfigurationsReady", "Ready", "RoutesReady")
    traffic = [{"latestRevision": True, "percent": 100, "revisionName": REVISION}]
    ready = {"latestReadyRevisionName": REVISION, "traffic": traffic, **status}
    return service(*(condition(kind, "True") for kind in kinds), **ready)


def failed_service(message: str) -> Manifest:
    """Return a Service whose only revision has failed."""
    missing = 'Configuration "flowers" does not have any ready Revision.'
    return service(
        condition(
            "ConfigurationsReady", "False", "RevisionFailed", f'Revision "{REVISION}" failed with message: {message}.'
        ),
        condition("Ready", "False", "RevisionMissing", missing),
        condition("RoutesReady", "False", "RevisionMissing", missing),
    )


def revision(*conditions: Manifest) -> Manifest:
    """A Revision; without conditions it is being deployed."""
    kinds = ("Ready", "ContainerHealthy", "ResourcesAvailable")
    container: Manifest = {"name": "user-container", "image": IMAGE, "resources": {"requests": {"cpu": "250m"}}}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {"name": REVISION, "namespace": NAMESPACE, "labels": LABELS, "uid": "u-revision"},
        "spec": {"containers": [container]},
        "status": {"conditions": list(conditions) or [condition(kind, "Unknown", "Deploying") for kind in kinds]},
    }


def failed_revision(kind: str, reason: str, message: str) -> Manifest:
    return revision(condition("Ready", "False", reason, message), condition(kind, "False", reason, message))


def container(state: Mapping[str, Any] | None = None, *, name: str = "user-container", **status: Any) -> Manifest:
    running = {"running": {"startedAt": APPLIED}}
    ready = status.pop("ready", state is None)  # the function's own has no probe, so it is when it runs: see `pod`
    return {"name": name, "image": IMAGE, "ready": ready, "restartCount": 0, "state": state or running, **status}


def waiting(reason: str, message: str = "", **status: Any) -> Manifest:
    return container({"waiting": {"reason": reason, "message": message}}, **status)


def ended(code: int, *, reason: str = "Error", message: str = "", restarts: int = 1) -> Manifest:
    """A container that ended and waits to be started again."""
    last = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    back_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}}
    return container(back_off, lastState=last, restartCount=restarts)


def pod(*containers: Manifest, scheduled: str = "", ready: bool = False, **metadata: Any) -> Manifest:
    """A pod on node1, ready when Knative's sidecar finds it so; or, with `scheduled`, one no node takes, and why."""
    placed = (
        condition("PodScheduled", "False", "Unschedulable", scheduled)
        if scheduled
        else condition("PodScheduled", "True")
    )
    sidecar = container(name="queue-proxy", ready=ready)
    statuses = [] if scheduled else [sidecar, *containers]  # as the API server has them: by name
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE, "labels": LABELS, "uid": "u-pod", **metadata},
        "spec": {
            "containers": [
                {
                    "name": "user-container",
                    "image": IMAGE,
                    "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
                },
                {"name": "queue-proxy", "resources": {"requests": {"cpu": "25m"}}},
            ],
            **({} if scheduled else {"nodeName": "node1"}),
        },
        "status": {
            "phase": "Pending" if scheduled else "Running",
            "conditions": [placed, condition("Ready", "True" if ready else "False")],
            "containerStatuses": statuses,
        },
    }


def event(reason: str, message: str, *, at: str = APPLIED, name: str = POD, uid: str = "u-pod") -> Manifest:
    about = {"kind": "Pod", "name": name, "uid": uid}
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at, "involvedObject": about}
