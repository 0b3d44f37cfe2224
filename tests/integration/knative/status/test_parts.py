"""Why a part of an app beside its function isn't ready: what objects, pods and Events say, one situation a test."""

from typing import Any

from eaves.platform import PartStatus
from knative.client.cluster import Cluster
from knative.client.kinds import BROKER, DAEMON_SET
from knative.resources.rendering import render_app
from knative.status.conditions import CAUSES
from knative.status.parts import FAILED, READY, STARTING, judge_parts, wanted_parts
from tests.cluster.apps import at_site, full_app, full_settings, plain_site
from tests.cluster.deploys import HOME
from tests.cluster.expanded import condition
from tests.fakes.controllers.installation import bare
from tests.fakes.kubernetes.apiserver import FakeCluster

NOW = 1795600980.0
"""2026-11-25T10:03:00Z."""
MINUTES_AGO = "2026-11-25T10:01:00Z"
NAMES = {"Trigger": "eventing.knative.dev/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}
LABELS = {"app.kubernetes.io/managed-by": "eaves", "eaves.dev/app": "flowers", "eaves.dev/source": "inbox"}


def part(kind: str, *conditions: Any, component: str = "source", spec: Any = None, **status: Any) -> dict[str, Any]:
    labels = {**LABELS, "app.kubernetes.io/component": component}
    metadata = {"name": "flowers-inbox", "namespace": HOME, "generation": 2, "uid": "u", "labels": labels}
    metadata["managedFields"] = [{"manager": "eaves", "operation": "Apply", "time": MINUTES_AGO}]
    template = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {}}}
    reported = {"observedGeneration": 2, **({"conditions": list(conditions)} if conditions else {}), **status}
    made = {"apiVersion": NAMES[kind], "kind": kind, "metadata": metadata}
    return {**made, "spec": {**template, **(spec or {})}, "status": reported}


def put_pod(server: FakeCluster, waiting: str, message: str = "", **labels: str) -> None:
    """A pod of that part that isn't ready."""
    state = {"waiting": {"reason": waiting, "message": message}}
    last = {"terminated": {"exitCode": 1, "reason": "Error"}} if waiting == "CrashLoopBackOff" else {}
    image = "r.test/agent@sha256:" + "0" * 64
    status = {"name": "agent", "image": image, "ready": False, "restartCount": 4, "state": state, "lastState": last}
    own = {**LABELS, "app.kubernetes.io/component": "source", **labels}
    spec = {"nodeName": "edge-1", "containers": [{"name": "agent", "image": image}]}
    unready = [condition("Ready", "False", since=MINUTES_AGO)]
    server.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "flowers-inbox-0", "namespace": HOME, "labels": own},
            "spec": spec,
            "status": {"conditions": unready, "containerStatuses": [status]},
        }
    )


def judge(cluster: Cluster, value: dict[str, Any], *, now: float = NOW) -> PartStatus:
    (found,) = judge_parts(cluster, [value], now=now)
    assert found.cause in {"", *CAUSES}
    return found


def test_what_is_ready(cluster: Cluster):
    for value in (
        part("Trigger", condition("Ready", "True")),
        part("StatefulSet", spec={"replicas": 1}, readyReplicas=1),
        part("DaemonSet", desiredNumberScheduled=2, updatedNumberScheduled=2, numberReady=2),
        part("DaemonSet", component="pin", desiredNumberScheduled=0),
    ):
        found = judge(cluster, value)
        assert (found.state, found.reason, found.since) == (READY, "", None)


def test_pods_that_are_missing_or_of_the_version_before(cluster: Cluster):
    for value, reason in (
        (
            part("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=1, numberReady=3),
            "1 of 3 pods have the version that was deployed last",
        ),
        (
            part("StatefulSet", readyReplicas=1, updateRevision="b", currentRevision="a"),
            "0 of 1 pods have the version that was deployed last",
        ),
        (part("StatefulSet"), "0 of 1 pods are ready"),
    ):
        found = judge(cluster, value)
        assert (found.state, found.reason, found.since, found.age_s) == (STARTING, reason, NOW - 120, 120)


def test_an_agents_fixes_are_others_than_a_functions(cluster: Cluster, apiserver: FakeCluster):
    put_pod(apiserver, "ErrImagePull", "manifest unknown")
    assert "knative.agent_image" in judge(cluster, part("StatefulSet")).fix
    put_pod(apiserver, "CrashLoopBackOff")
    found = judge(cluster, part("StatefulSet"))
    assert (found.cause, found.fix, found.final) == ("crash", "eaves logs flowers.inbox --on knative", True)


def test_a_taint_that_the_scheduler_does_not_name_is_named(cluster: Cluster, apiserver: FakeCluster):
    for name, key in (("node1", "gpu"), ("node2", "edge")):
        taint = {"key": key, "value": "yes", "effect": "NoSchedule"}
        apiserver.put({**bare("v1", "Node", name), "spec": {"taints": [taint]}})
    put_pod(apiserver, "")
    pod = apiserver.get("Pod", "flowers-inbox-0", namespace=HOME)
    pod["spec"]["tolerations"] = [{"key": "gpu", "operator": "Exists"}]
    said = "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    pod["status"] = {"conditions": [{"type": "PodScheduled", "status": "False", "message": said}]}
    apiserver.put(pod)
    found = judge(cluster, part("StatefulSet", spec={"replicas": 1}))
    assert "[{key: edge, operator: Exists}]" in found.fix
    assert found.fix.endswith("kubectl taint node NODE edge-")
    apiserver.denied = {("list", "nodes")}
    assert "{key: KEY, operator" in judge(cluster, part("StatefulSet", spec={"replicas": 1})).fix


def test_an_agent_that_no_node_may_run(cluster: Cluster):
    spec = {"template": {"spec": {"nodeSelector": {"place": "barn"}}}}
    found = judge(cluster, part("DaemonSet", spec=spec, desiredNumberScheduled=0, numberReady=0))
    assert found.cause == "unschedulable"
    assert "kubectl get nodes -l place=barn" in found.fix


def test_a_pod_that_may_not_be_made_is_in_the_events_only(cluster: Cluster, apiserver: FakeCluster):
    text = 'pods "flowers-inbox-0" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes'
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": HOME}}
    apiserver.put({**event, "reason": "FailedCreate", "message": text, "involvedObject": {"name": "flowers-inbox"}})
    found = judge(cluster, part("StatefulSet"))
    assert found.state == FAILED
    assert "the Pod Security level restricted:latest" in found.reason


GONE = ("False", "NotFound", "it is gone")
UNADDRESSED = ("False", "X", "address not set for Kind = Service, Namespace = cams, Name = flowers")


def test_conditions_that_keep_a_trigger_from_being_ready(cluster: Cluster):
    aside = {**condition("Cosmetic", "False", "", "never mind"), "severity": "Info"}
    ready = condition("Ready", "False", "Whatever", "the true reason", since=MINUTES_AGO)
    for said, state, cause, begins in (
        (("BrokerReady", *GONE), FAILED, "broker", "its Broker is missing or not ready: it is gone"),
        (("SinkProvided", *GONE), FAILED, "destination", "its sink can't be resolved: it is gone"),
        (("SubscriptionReady", *GONE), FAILED, "refused", "its condition SubscriptionReady is False: it is gone"),
        # It was looked at before its function had an address.
        (("SubscriberResolved", *UNADDRESSED), STARTING, "", "its subscriber can't be resolved yet: address not"),
        (("SubscriptionReady", "Unknown", "", "is being made"), STARTING, "", "is being made"),
        (("Other", "True"), FAILED, "refused", "its condition Ready is False: the true reason"),
    ):
        found = judge(cluster, part("Trigger", aside, condition(*said), ready))
        assert (found.state, found.cause, found.since) == (state, cause, NOW - 120), begins
        assert found.reason.startswith(begins)
        assert ("annotate sinkbindings" in found.fix) == ("its sink" in begins)


def test_an_object_that_its_controller_has_not_looked_at(cluster: Cluster):
    value = part("Trigger", condition("Ready", "True"), observedGeneration=1)
    found = judge(cluster, value)
    assert (found.state, found.cause) == (FAILED, "controller")
    assert "120 s ago" in found.reason
    assert judge(cluster, value, now=NOW - 115).state == STARTING
    assert judge(cluster, value, now=0.0).state == STARTING, "nobody knows what time it is"


def test_the_parts_of_an_app_are_those_that_can_be_ready_and_the_broker():
    site = plain_site(namespace="cams")
    manifests = render_app(at_site(full_app(), full_settings(create_broker=False), site))
    found = wanted_parts(manifests, "cams")
    assert found[0] == (BROKER, "eaves", "cams")
    assert (DAEMON_SET, "flowers-cams-camera", "eaves-agents") in found
    assert not any(name.startswith("flowers-pin") for _, name, _ in found)
    assert {kind.kind for kind, _, _ in found} == {
        *("Broker", "Trigger", "EventType", "SinkBinding", "StatefulSet", "DaemonSet")
    }
