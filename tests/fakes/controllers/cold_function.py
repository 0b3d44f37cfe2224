"""A function that starts from zero on a simulated cluster: its pod, what node and scheduler say, and its log."""

from __future__ import annotations

import json
from typing import Any

from eaves import events
from tests.fakes.controllers.knative import Knative, predict
from tests.fakes.controllers.serving import SERVICE_LABEL
from tests.fakes.kubernetes.cluster import Reply, Request

STAGES = {
    "interpreter": 10.0,
    "import functions.model.model_loading": 40.0,
    "open session": 50.0,
    "listening": 60.0,
    "first request": 70.0,
    "golden check": 90.0,
    "first probe": 95.0,
    "first prediction": 100.0,
}
"""Milliseconds since exec that its process logs."""


class ColdFunction:
    """What answers for a function: an image that is no event starts a pod, which stays until a test removes it.

    Args:
        knative: The simulated Knative.
        name: Name of the function.
        stages: What its process logs of its start; None: it logs none.
        gap_s: Seconds between two changes that are seen.
        pulled: Whether the node has to pull the container image.
        status: HTTP status of its answers.
    """

    def __init__(
        self,
        knative: Knative,
        name: str = "flowers",
        *,
        stages: dict[str, float] | None = None,
        gap_s: float = 0.01,
        pulled: bool = False,
        status: int = 200,
    ) -> None:
        self._knative, self.name = knative, name
        self.stages, self.gap_s, self.pulled, self.status = stages, gap_s, pulled, status
        self.starts = 0
        self.asked: list[Request] = []
        knative.functions[name] = self

    def __call__(self, request: Request) -> Reply:
        if events.is_event(request.headers):
            return predict(request)
        self.asked.append(request)
        if not self._pods():
            self.start()
        if self.status >= 400:
            problem = {"type": "urn:eaves:test", "detail": "this is no image"}
            return Reply(status=self.status, body=json.dumps(problem).encode())
        return Reply(body=json.dumps({"timings_ms": {"infer": 1.0}}).encode())

    def start(self) -> None:
        """Start a pod, step by step."""
        self.starts += 1
        pod = f"{self.name}-00001-deployment-{self.starts}"
        self._put(pod)
        self._put(pod, node="node1")
        for container in ("function", "queue-proxy"):
            if self.pulled:
                self._report(pod, "Pulling", container)
            self._report(pod, "Pulled", container)
            self._report(pod, "Started", container)
        if self.stages is not None:
            line = json.dumps({"message": "duration of each step of the start", "start_ms": self.stages})
            space = self._knative.namespace
            self._knative.server.write_log(pod, "listening", line, container="function", namespace=space)

    def end(self) -> None:
        """Scale to zero."""
        for pod in self._pods():
            self._knative.server.remove("Pod", pod["metadata"]["name"], namespace=self._knative.namespace)

    def _pods(self) -> list[dict[str, Any]]:
        pods = self._knative.server.all("Pod", namespace=self._knative.namespace)
        return [pod for pod in pods if pod["metadata"].get("labels", {}).get(SERVICE_LABEL) == self.name]

    def _put(self, name: str, node: str = "") -> None:
        metadata = {"name": name, "labels": {SERVICE_LABEL: self.name}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node} if node else {}}
        self._seen(pod)

    def _report(self, pod: str, reason: str, container: str) -> None:
        about = {"kind": "Pod", "name": pod, "fieldPath": f"spec.containers{{{container}}}"}
        metadata = {"name": f"{pod}.{reason.lower()}.{container}"}
        self._seen(
            {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "reason": reason, "involvedObject": about}
        )

    def _seen(self, manifest: dict[str, Any]) -> None:
        self._knative.server.put(manifest, manager="kubelet", namespace=self._knative.namespace)
        self._knative.server.closing.wait(self.gap_s)
