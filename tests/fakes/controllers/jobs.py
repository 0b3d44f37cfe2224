"""Plays the controllers of a Job on a simulated cluster: its pods come, write, end and are replaced."""

import itertools
from typing import Any

from knative.training.job import CONTAINER
from tests.fakes.kubernetes.cluster import FakeCluster


class JobPlay:
    """One Job's life.

    Args:
        cluster: Cluster of the Job.
        name: Name of the Job.
        namespace: Namespace of the Job.
    """

    def __init__(self, cluster: FakeCluster, name: str, *, namespace: str = "default") -> None:
        self._cluster, self.name, self.namespace = cluster, name, namespace
        self._numbers = itertools.count()

    def start(self, pod: str, *, phase: str = "Running", index: str = "", **status: Any) -> str:
        """A pod comes, of an index in an Indexed Job; later ones are younger. Returns its name."""
        job = self._cluster.get("Job", self.name, namespace=self.namespace)
        labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        if index:
            labels["batch.kubernetes.io/job-completion-index"] = index
        moment = f"2026-11-25T10:00:{next(self._numbers):02d}Z"
        metadata = {"name": pod, "namespace": self.namespace, "labels": labels, "creationTimestamp": moment}
        spec = job["spec"]["template"]["spec"]
        state = {"phase": phase, **status}
        self._cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": state})
        return pod

    def write(self, pod: str, *lines: str) -> None:
        """Its trainer writes."""
        self._cluster.write_log(pod, *lines, container=CONTAINER, namespace=self.namespace)

    def exit(self, pod: str, code: int, *, reason: str = "Error") -> None:
        """Its trainer ends."""
        ended = {"exitCode": code, "reason": reason, "finishedAt": f"2026-11-25T11:00:{next(self._numbers):02d}Z"}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": CONTAINER, "state": {"terminated": ended}}],
        }
        self._cluster.status("Pod", pod, status, namespace=self.namespace)

    def end(self, kind: str = "Complete", *, reason: str = "", message: str = "") -> None:
        """The Job ends, `Complete` or `Failed`."""
        reported = {"type": kind, "status": "True", "reason": reason, "message": message}
        self._cluster.status("Job", self.name, {"conditions": [reported]}, namespace=self.namespace)
