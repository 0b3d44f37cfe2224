"""A whole Knative on a simulated cluster, as a deploy sees it: what is applied becomes ready, gets an address, answers.

Cheap: nothing runs beside the API server, so hundreds of them fit in one process.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from eaves import events
from eaves.events import Event
from tests.fakes.controllers.serving import API, REVISION, Pod, Serving
from tests.fakes.kubernetes.cluster import FakeCluster, Reply, Request
from tests.fakes.kubernetes.objects import timestamp

GATEWAY, GATEWAY_NAMESPACE = "kourier-internal", "kourier-system"
INGRESS, EVENTING_NAMESPACE = "broker-ingress", "knative-eventing"
TRIGGER, SUBSCRIPTION = "eventing.knative.dev/v1/Trigger", "messaging.knative.dev/v1/Subscription"
_NOT_READY = ("Unknown", "Deploying", "")
Answer = Callable[[Request], Reply]


class Knative(Serving):
    """Plays every controller that a deploy waits for.

    Attributes:
        auto: Whether new revisions become ready by themselves.
        nodes: How many there are, for what runs on each.
        functions: What answers for a function; the others answer with a prediction.
        published: Events that the broker took.
        held: Kinds whose objects don't become ready.
        unpulled: Container image to the number of nodes that can't pull it, for pins.
        broken: (kind, name) to the condition that isn't True: type, status, reason and message.
        counts: (kind, name) of a StatefulSet or DaemonSet to the counts of pods in its status.
    """

    def __init__(self, server: FakeCluster, namespace: str) -> None:
        super().__init__(server, namespace)
        self.auto, self.nodes = True, 1
        self.functions: dict[str, Answer] = {}
        self.published: list[Event] = []
        self.held: set[str] = set()
        self.unpulled: dict[str, int] = {}
        self.broken: dict[tuple[str, str], tuple[str, str, str, str]] = {}
        self.counts: dict[tuple[str, str], dict[str, Any]] = {}
        server.on_apply(self._take_up_others)

    def run(self, revision: str, pod: str = "", *lines: str) -> Pod:
        """Start a replica, which writes lines."""
        started = self.start_pod(pod or f"{revision}-pod", revision)
        self.server.write_log(started.name, *lines, container="function", namespace=self.namespace)
        self._scale(revision)
        return started

    def end(self, pod: str) -> None:
        """Stop a replica."""
        revision = self.pods[pod].revision
        self.stop_pod(pod)
        self._scale(revision)

    def _scale(self, revision: str) -> None:
        """What the autoscaler says."""
        manifest = {
            "apiVersion": "autoscaling.internal.knative.dev/v1alpha1",
            "kind": "PodAutoscaler",
            "metadata": {"name": revision},
            "status": {"actualScale": sum(pod.revision == revision for pod in self.pods.values())},
        }
        self.server.put(manifest, manager="autoscaler", namespace=self.namespace)

    def _made(self, revision: str) -> None:
        if self.auto:
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}
            self.server.status(REVISION, revision, {"conditions": [ready]}, namespace=self.namespace)

    def _complete(self, service: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Conditions, shares and address. Source: knative/serving, pkg/apis/serving/v1/service_lifecycle.go."""
        name, newest = service["metadata"]["name"], status["latestCreatedRevisionName"]
        configured = self._configured(newest)
        shares = _shares(service, status.get("latestReadyRevisionName", ""))
        known = {one["metadata"]["name"] for one in self.server.all(REVISION, namespace=self.namespace)}
        missing = [share["revisionName"] for share in shares if share["revisionName"] not in known]
        routed = ("True", "", "")
        if not status.get("latestReadyRevisionName"):
            routed = (configured[0], "RevisionMissing", f'Configuration "{name}" does not have any ready Revision.')
        elif missing:
            routed = ("False", "RevisionMissing", f'Revision "{missing[0]}" referenced in traffic not found.')
        overall = next((one for one in (configured, routed) if one[0] != "True"), routed)
        conditions = {"ConfigurationsReady": configured, "Ready": overall, "RoutesReady": routed}
        status["conditions"] = [_condition(kind, *said) for kind, said in conditions.items()]
        if routed[0] == "True":
            host = f"{name}.{self.namespace}.svc.cluster.local"
            self._expose(name, f"{GATEWAY}.{GATEWAY_NAMESPACE}.svc.cluster.local")
            status |= {"traffic": shares, "address": {"url": f"http://{host}"}, "url": f"http://{host}"}
        return status

    def _configured(self, newest: str) -> tuple[str, str, str]:
        said = self._condition(newest)
        if said.get("status") == "False":
            return "False", "RevisionFailed", f'Revision "{newest}" failed with message: {said.get("message", "")}.'
        return ("True", "", "") if said.get("status") == "True" else _NOT_READY

    def _expose(self, name: str, alias: str = "", *, namespace: str = "") -> None:
        """A Service of Kubernetes."""
        kept = {"type": "ExternalName", "externalName": alias} if alias else {"type": "ClusterIP"}
        manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": kept}
        self.server.put(manifest, manager="controller", namespace=namespace or self.namespace)
        if alias:
            self._expose(GATEWAY, namespace=GATEWAY_NAMESPACE)

    def _take_up_others(self, manifest: dict[str, Any]) -> None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        if self.paused or kind in self.held or manifest["apiVersion"] == API:
            return
        if kind == "Subscription":
            self._reconcile_owner(manifest)
            return
        if kind == "Trigger":
            self._subscribe(manifest)
        status = self._pinned(manifest) if _is_pin(manifest) else self._status_of(kind, metadata)
        if status is None:
            return
        name = f"{manifest['apiVersion']}/{kind}"
        reported = {"observedGeneration": metadata["generation"], **status}
        self.server.status(name, metadata["name"], reported, namespace=metadata["namespace"])

    def _reconcile_owner(self, subscription: Mapping[str, Any]) -> None:
        """A change of a Subscription makes the controller look at its Trigger."""
        owner = subscription["metadata"]["ownerReferences"][0]["name"]
        self._subscribe(self.server.get(TRIGGER, owner, namespace=subscription["metadata"]["namespace"]))

    def _subscribe(self, trigger: Mapping[str, Any]) -> None:
        """A Trigger's Subscription, which is made anew when it differs.

        Source: knative/eventing, pkg/reconciler/broker/trigger/trigger.go (reconcileSubscription).
        """
        metadata, namespace = trigger["metadata"], trigger["metadata"]["namespace"]
        name = f"{trigger['spec']['broker']}-{metadata['name']}-{metadata['uid']}"
        spec = {"delivery": trigger["spec"].get("delivery") or {}}
        there = [one for one in self.server.all(SUBSCRIPTION, namespace=namespace) if one["metadata"]["name"] == name]
        if there and _is_derivative(spec, there[0]["spec"]):
            return
        for one in there:
            self.server.remove(SUBSCRIPTION, one["metadata"]["name"], namespace=namespace)
        api_version, _, kind = SUBSCRIPTION.rpartition("/")
        owner = {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "controller": True}
        made = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": name,
                "labels": {"eventing.knative.dev/trigger": metadata["name"]},
                "ownerReferences": [{**owner, "name": metadata["name"], "uid": metadata["uid"]}],
            },
            "spec": spec,
        }
        self.server.put(made, manager="mtbroker-controller", namespace=namespace)

    def pull(self, image: str, nodes: int = 0) -> None:
        """Let every node pull a container image, but for so many."""
        self.unpulled[image] = nodes
        for one in filter(_is_pin, self.server.all("apps/v1/DaemonSet")):
            self._take_up_others(one)

    def _pinned(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Status of a pin. Source: kubernetes, pkg/controller/daemon/daemon_controller.go."""
        image = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        return {
            "currentNumberScheduled": self.nodes,
            "desiredNumberScheduled": self.nodes,
            "updatedNumberScheduled": self.nodes,
            "numberReady": max(0, self.nodes - self.unpulled.get(image, 0)),
        }

    def _status_of(self, kind: str, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
        ready: dict[str, Any] = {"conditions": [_condition("Ready", "True")]}
        key = kind, str(metadata["name"])
        if key in self.broken:
            part, *said = self.broken[key]
            ready = {"conditions": [_condition(part, *said), _condition("Ready", *said)]}
        if kind == "Broker":
            self._expose(INGRESS, namespace=EVENTING_NAMESPACE)
            host = f"{INGRESS}.{EVENTING_NAMESPACE}.svc.cluster.local"
            return ready | {"address": {"url": f"http://{host}/{metadata['namespace']}/{metadata['name']}"}}
        if key in self.counts:
            return self.counts[key]
        if kind == "DaemonSet":
            counts = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady")
            return dict.fromkeys(counts, self.nodes)
        if kind == "StatefulSet":
            return {"replicas": 1, "readyReplicas": 1}
        return ready if kind in {"Trigger", "EventType", "SinkBinding", "JobSink"} else None

    def _answer(self, request: Request) -> Reply:
        if request.target.startswith("pods/"):
            return super()._answer(request)
        host = request.headers.get("Host", "")
        if request.target == f"services/{INGRESS}:80":
            self.published.append(_event(request))
            return Reply(status=202)
        name, _, rest = host.partition(".")
        if request.target != f"services/{GATEWAY}:80" or rest != f"{self.namespace}.svc.cluster.local":
            return Reply(status=404)
        return self.functions.get(name, predict)(request)


def predict(request: Request) -> Reply:
    """What a function answers to an event."""
    cause = _event(request)
    answer = Event(
        id="reply-1",
        source="/eaves/barn/flowers",
        type=events.IMAGE_CLASSIFIED,
        datacontenttype="application/json",
        data=b'{"predictions":[{"label":"daisy","score":0.9}]}',
        extensions={"causeid": cause.id, "causesource": cause.source},
    )
    headers, body = events.encode_binary(answer)
    return Reply(headers=headers, body=body)


def _event(request: Request) -> Event:
    return events.decode(request.headers, request.body)


def _is_derivative(wanted: Any, actual: Any) -> bool:
    """Whether nothing that is set in `wanted` differs.

    Source: k8s.io/apimachinery, equality.Semantic.DeepDerivative.
    """
    if isinstance(wanted, Mapping):
        there = actual if isinstance(actual, Mapping) else {}
        return all(_is_derivative(value, there.get(key)) for key, value in wanted.items())
    return not wanted or wanted == actual


def _is_pin(manifest: Mapping[str, Any]) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return manifest["kind"] == "DaemonSet" and labels.get("app.kubernetes.io/component") == "pin"


def _shares(service: Mapping[str, Any], latest: str) -> list[dict[str, Any]]:
    """Traffic with the newest ready revision's name where it is followed."""
    entries = service["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
    return [{**entry, "revisionName": entry.get("revisionName") or latest} for entry in entries]


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    reported = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": timestamp()}
    return {key: value for key, value in reported.items() if value}


def refuse(status: int, detail: str, hint: str = "") -> Answer:
    """A function that takes nothing."""
    import json

    body = json.dumps({"type": "urn:eaves:test", "detail": detail, "hint": hint}).encode()
    reply = Reply(status=status, headers={"Content-Type": "application/problem+json"}, body=body)
    return lambda request: replace(reply)
