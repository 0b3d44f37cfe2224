"""Knative Serving as far as a rollout sees it: defaults, revisions, their readiness, and pods that count."""

import threading
from collections.abc import Mapping
from typing import Any

from eaves.admin.queue import SpoolQueue
from eaves.admin.server import answer_health
from eaves.base.prometheus import CONTENT_TYPE
from eaves.spool import Spool
from functions.metrics import Metrics
from knative.resources.agent import SOURCE_LABEL
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL
from knative.resources.workload import METRICS_PORT
from tests.fakes.kubernetes.cluster import FakeCluster, Reply, Request

API = "serving.knative.dev/v1"
SERVICE, REVISION = f"{API}/Service", f"{API}/Revision"
SERVICE_LABEL = "serving.knative.dev/service"


class Pod:
    """A replica of a function, with the metrics that a function has."""

    def __init__(self, name: str, revision: str) -> None:
        self.name, self.revision = name, revision
        self.metrics = Metrics()
        self.usage: dict[str, float] = {}
        """Gauges of its process."""
        self.answer: Reply | None = None
        """What it answers instead of metrics."""

    def serve(self, answered: int = 0, failed: int = 0, *, ms: float = 100.0, status: int = 200) -> None:
        """Answer requests; a prediction takes so long."""
        for _ in range(answered):
            self.metrics.count("eaves_requests_total", kind="predict", status=str(status), problem="")
            if status == 200:
                self.metrics.observe("infer", ms / 1000)
        for _ in range(failed):
            self.metrics.count("eaves_requests_total", kind="predict", status="500", problem="internal")


class Serving:
    """Takes up what is applied to one cluster.

    Attributes:
        paused: Whether its controllers are down.
        pods: Pods by name.
        agents: Spools of agents by the name of their pod; each answers with its real report.
    """

    def __init__(self, server: FakeCluster, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.paused = False
        self.pods: dict[str, Pod] = {}
        self.agents: dict[str, Spool] = {}
        self._templates: dict[str, Mapping[str, Any]] = {}
        """Template by uid of the Service, as the numbers of revisions are, so that a new Service starts anew."""
        self._numbers: dict[str, int] = {}
        self._lock = threading.RLock()
        server.admit = self._default
        server.backend = self._answer
        server.on_apply(self._take_up)

    def ready(self, revision: str, ready: bool | None = True, *, message: str = "") -> None:
        """Let a revision become ready, or fail."""
        said = {True: "True", False: "False", None: "Unknown"}[ready]
        condition = {"type": "Ready", "status": said, "reason": "" if ready else "RevisionFailed", "message": message}
        self.server.status(REVISION, revision, {"conditions": [condition]}, namespace=self.namespace)
        name = self.server.get(REVISION, revision, namespace=self.namespace)["metadata"]["labels"][SERVICE_LABEL]
        self._report(name)

    def start_pod(self, name: str, revision: str) -> Pod:
        """Run a replica."""
        pod = Pod(name, revision)
        self.pods[name] = pod
        self._put(pod)
        return pod

    def start_agent(self, name: str, spool: Spool, function: str = "flowers") -> None:
        """Run an agent of a function."""
        self.agents[name] = spool
        labels = {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: "source", APP_LABEL: function, SOURCE_LABEL: "gate"}
        metadata = {"name": name, "labels": labels}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}}
        self.server.put(manifest, manager="kubelet", namespace=self.namespace)

    def stop_pod(self, name: str) -> None:
        """Scale it away."""
        del self.pods[name]
        self.server.remove("Pod", name, namespace=self.namespace)

    def service(self, name: str = "flowers") -> dict[str, Any]:
        """A Service as it is."""
        return self.server.get(SERVICE, name, namespace=self.namespace)

    def set_traffic(self, *shares: Mapping[str, Any]) -> None:
        """What `kn service update --traffic` does."""
        service = self.service()
        service["spec"]["traffic"] = [dict(share) for share in shares]
        self._take_up(self.server.put(service, manager="kn", namespace=self.namespace))

    def take_up(self) -> None:
        """Let controllers that were down work again."""
        self.paused = False
        self._take_up(self.service())

    def _default(self, manifest: dict[str, Any]) -> str:
        """The webhook's part: it completes and refuses."""
        if (manifest.get("apiVersion"), manifest.get("kind")) == (API, "Service"):
            traffic = manifest["spec"].setdefault("traffic", [{"latestRevision": True, "percent": 100}])
            for share in traffic:
                share.setdefault("latestRevision", "revisionName" not in share)
            if sum(share.get("percent", 0) for share in traffic) != 100:
                return "validation failed: Traffic targets sum to other than 100: spec.traffic"
        return ""

    def _take_up(self, manifest: dict[str, Any]) -> None:
        if self.paused or (manifest["apiVersion"], manifest["kind"]) != (API, "Service"):
            return
        if manifest["metadata"]["namespace"] != self.namespace:
            return
        name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
        template = manifest["spec"]["template"]
        with self._lock:
            if self._templates.get(uid) != template:
                self._templates[uid] = template
                self._numbers[uid] = self._numbers.get(uid, 0) + 1
                owner = {"apiVersion": API, "kind": "Service", "name": name, "uid": uid}
                made = f"{name}-{self._numbers[uid]:05}"
                labels = {**(template.get("metadata") or {}).get("labels", {}), SERVICE_LABEL: name}
                annotations = (template.get("metadata") or {}).get("annotations", {})
                metadata = {"name": made, "labels": labels, "annotations": annotations, "ownerReferences": [owner]}
                revision = {"apiVersion": API, "kind": "Revision", "metadata": metadata, "spec": template["spec"]}
                self.server.put(revision, manager="controller", namespace=self.namespace)
                self._made(made)
            self._report(name)

    def _made(self, revision: str) -> None:
        """A revision is there; a test says when it is ready."""

    def _report(self, name: str) -> None:
        with self._lock:
            revisions = [
                revision["metadata"]["name"]
                for revision in self.server.all(REVISION, namespace=self.namespace)
                if revision["metadata"]["labels"][SERVICE_LABEL] == name
            ]
            ready = [revision for revision in revisions if self._condition(revision).get("status") == "True"]
            service = self.service(name)
            status = {"observedGeneration": service["metadata"]["generation"]}
            status |= {"latestCreatedRevisionName": f"{name}-{self._numbers[service['metadata']['uid']]:05}"}
            status |= {"latestReadyRevisionName": ready[-1]} if ready else {}
            self.server.status(SERVICE, name, self._complete(service, status), namespace=self.namespace)

    def _complete(self, service: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """What else its status says; a rollout looks at no more."""
        return status

    def _condition(self, revision: str) -> Mapping[str, Any]:
        """Whether a revision is ready, as it says itself."""
        status = self.server.get(REVISION, revision, namespace=self.namespace).get("status", {})
        return next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})

    def _put(self, pod: Pod) -> None:
        container = {"name": "function", "restartCount": 0, "lastState": {}}
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name,
                "labels": {
                    "serving.knative.dev/revision": pod.revision,
                    SERVICE_LABEL: pod.revision.rpartition("-")[0],
                },
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "queue-proxy", "restartCount": 9}, container],
            },
        }
        self.server.put(manifest, manager="kubelet", namespace=self.namespace)

    def _answer(self, request: Request) -> Reply:
        name, _, port = request.target.split("/")[1].partition(":")
        if int(port) == METRICS_PORT:
            if name not in self.agents:
                return Reply(status=404)
            answer = answer_health(SpoolQueue(self.agents[name]), {}, "GET", request.path)
            return Reply(status=answer.status, headers=dict(answer.headers), body=answer.body)
        pod = self.pods[name]
        if request.path != "/metrics" or not request.target.endswith(":8080"):
            return Reply(status=404)
        text = pod.metrics.render(pod.usage, {}).encode()
        return pod.answer or Reply(headers={"Content-Type": CONTENT_TYPE}, body=text)
