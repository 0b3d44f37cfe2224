"""Status of a training's Job and its pods: how they ended, or why they haven't started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from knative.client.kinds import POD
from knative.training.job import CONTAINER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

_OWNER = "batch.kubernetes.io/controller-uid"
"""Label of a pod with the UID of its Job.

Source: https://kubernetes.io/docs/reference/labels-annotations-taints/.
"""


def find_ending(job: Mapping[str, Any]) -> str:
    """Return `Complete` or `Failed`; empty while the Job runs."""
    return str(condition(job).get("type", ""))


def condition(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition that a Job ended with; empty while it runs."""
    found = job.get("status", {}).get("conditions") or ()
    return next((dict(one) for one in found if one["type"] in ("Complete", "Failed") and one["status"] == "True"), {})


def pods_of(cluster: Cluster, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List a Job's pods, the oldest first, without pods of an earlier Job of the same name."""
    found = cluster.list(POD, selector=f"{_OWNER}={job['metadata']['uid']}")
    return sorted(found, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def find_exit(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the trainer in a pod ended (`exitCode`, `reason`, `finishedAt`).

    The result is empty while the trainer runs, or when its end isn't known.
    """
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == CONTAINER:
            return dict(status.get("state", {}).get("terminated") or {})
    return {}


def find_waiting_reason(pod: Mapping[str, Any]) -> str:
    """Return why a pod hasn't started, in the words of its status."""
    status = pod.get("status", {})
    for one in status.get("containerStatuses") or ():
        waiting = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason"):
            return ": ".join(str(part) for part in (waiting["reason"], waiting.get("message")) if part)
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"{one.get('reason', '')}: {one.get('message', '')}"
    return "the pod is waiting to start on its node"


def last_failed(pods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the pod that failed last and whose exit code is known; None when there is none."""
    failed = [pod for pod in pods if find_exit(pod).get("exitCode")]
    return max(failed, key=lambda pod: str(find_exit(pod).get("finishedAt", "")), default=None)
