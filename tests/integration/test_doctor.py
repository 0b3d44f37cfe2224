"""An examination over HTTP: a cluster with Knative where all is well, and then one thing after another that isn't."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import UnreachableClusterError
from eaves.platform import AppSpec, DeliverySettings, FunctionSpec, SourceSpec, TriggerSpec, default_trigger
from knative.cluster import Cluster, open_cluster
from knative.doctor import CHECKS, ERROR, NOTE, OK, WARNING, Finding, examine, worst
from knative.settings import KnativeSettings, SiteSettings
from tests.fakes.apiserver import FakeCluster, open_apiserver, refusing_url
from tests.fakes.installation import (
    EVENTING,
    GATEWAY,
    SERVING,
    bare,
    config,
    deployment,
    install_knative,
    lease,
    node,
    quota,
    set_channel,
    storage_class,
)
from tests.fakes.kubeconfig import write_kubeconfig
from tests.fakes.wire import Reply

HERE = "barn"
IMAGE = "registry.test:5000/flowers@sha256:" + 64 * "a"
AGENT = "registry.test:5000/agent@sha256:" + 64 * "b"
APP = AppSpec(
    function=FunctionSpec(name="flowers", site="barn", artifact=Path("/artifact"), image=IMAGE),
    triggers=(default_trigger("flowers"),),
)
SETTINGS = KnativeSettings(agent_image=AGENT)
SITE = SiteSettings(name="barn")


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver() as running:
        install_knative(running)
        yield running


@pytest.fixture
def cluster(server: FakeCluster, tmp_path: Path) -> Cluster:
    return open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace=HERE), timeout_s=10)


class Patient:
    """One cluster, and what is found with these settings."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def find(self, check: str, *, app: AppSpec = APP, site: SiteSettings = SITE, **settings: Any) -> list[Finding]:
        """What one check finds, `ok` left out."""
        found = examine(self._cluster, app, replace(SETTINGS, **settings), site)
        return [finding for finding in found if finding.check == check and finding.severity != OK]

    def one(self, check: str, **more: Any) -> Finding:
        """The one thing that one check finds."""
        (finding,) = self.find(check, **more)
        return finding


@pytest.fixture
def patient(cluster: Cluster) -> Patient:
    return Patient(cluster)


def source(**values: Any) -> AppSpec:
    return replace(APP, sources=(SourceSpec(name="cam", **values),))


def test_a_good_cluster_is_told_what_it_keeps_not(cluster: Cluster) -> None:
    findings = examine(cluster, APP, SETTINGS, SITE)
    assert [(one.severity, one.check) for one in findings if one.severity not in {OK, NOTE}] == [
        (WARNING, "broker"),
        (WARNING, "triggers"),
    ]
    assert worst(findings) == WARNING
    assert all(one.fix for one in findings if one.severity in {WARNING, ERROR})
    assert {name for name, _ in CHECKS} - {"pull-secret", "storage", "agents"} <= {one.check for one in findings}


def test_nothing_is_changed(cluster: Cluster, server: FakeCluster) -> None:
    examine(cluster, APP, SETTINGS, SITE)
    asked = {(one.method, one.path) for one in server.log if one.method != "GET"}
    assert asked == {("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")}


@pytest.mark.parametrize(("version", "severity"), [("v1.31.4+k3s1", WARNING), ("v1.99.0", NOTE), ("unknown", NOTE)])
def test_versions_of_kubernetes_that_were_not_tried(
    patient: Patient, server: FakeCluster, version: str, severity: str
) -> None:
    server.version = version
    found = patient.one("server")
    assert found.severity == severity
    assert version in found.message


def test_a_cluster_without_knative(patient: Patient, server: FakeCluster) -> None:
    server.unserved = {"serving.knative.dev/v1", "eventing.knative.dev/v1"}
    for check, file in (("serving", "serving-core.yaml"), ("eventing", "mt-channel-broker.yaml")):
        found = patient.one(check)
        assert found.severity == ERROR
        assert "kubectl apply -f https://" in found.fix
        assert file in found.fix


def test_a_part_of_knative_that_does_not_run(patient: Patient, server: FakeCluster) -> None:
    server.put(deployment("webhook", SERVING, "1.23.0", replicas=0))
    server.remove("Deployment", "eventing-controller", namespace=EVENTING)
    assert patient.one("serving").message == "webhook in knative-serving doesn't run"
    assert "not eventing-controller in knative-eventing" in patient.one("eventing").message


def test_an_old_eventing_lacks_what_is_applied(patient: Patient, server: FakeCluster) -> None:
    server.unserved = {"eventing.knative.dev/v1beta3", "sinks.knative.dev/v1alpha1"}
    assert [(one.severity, one.message.split()[0]) for one in patient.find("eventing")] == [
        (ERROR, "EventType"),
        (NOTE, "JobSink"),
    ]
    training = patient.find("eventing", trainer_image=IMAGE)
    assert training[1].severity == WARNING


def test_a_version_that_was_not_tried_is_a_note(patient: Patient, server: FakeCluster) -> None:
    for name in ("activator", "autoscaler", "controller", "webhook"):
        server.put(deployment(name, SERVING, "1.99.0"))
    assert (patient.one("serving").severity, "1.99.0" in patient.one("serving").message) == (NOTE, True)


def test_a_cluster_that_lets_nothing_scale_to_zero(patient: Patient, server: FakeCluster) -> None:
    server.put(config("config-autoscaler", **{"enable-scale-to-zero": "false"}))
    assert patient.one("serving").severity == NOTE


def test_a_networking_layer_that_is_not_there(patient: Patient, server: FakeCluster) -> None:
    server.put(config("config-network"))
    found = patient.one("network")
    assert found.severity == ERROR
    assert "config-network names none, which means Istio" in found.message
    assert '"ingress-class":"kourier.ingress.networking.knative.dev"' in found.fix


def test_a_networking_layer_in_pieces(patient: Patient, server: FakeCluster) -> None:
    server.put(deployment("net-kourier-controller", SERVING, "1.23.0", replicas=0))
    assert "net-kourier-controller in knative-serving doesn't run" in patient.one("network").message
    server.remove("Service", "kourier-internal", namespace=GATEWAY)
    assert "the gateway of Kourier" in patient.one("network").message


def test_a_gateway_that_our_network_policy_keeps_out(patient: Patient, server: FakeCluster) -> None:
    server.put(config("config-network", **{"ingress-class": "contour.ingress.networking.knative.dev"}))
    server.put(deployment("net-contour-controller", SERVING, "1.23.0"))
    server.put(bare("v1", "Service", "envoy", namespace="contour-internal"))
    found = patient.one("network")
    assert found.fix == "set knative.gateway_namespace in eaves.yaml to contour-internal"
    assert patient.find("network", gateway_namespace="contour-internal") == []
    server.put(config("config-network", **{"ingress-class": "other.example.com"}))
    assert patient.one("network").severity == NOTE


def test_a_public_function_without_a_domain(patient: Patient, server: FakeCluster) -> None:
    found = patient.one("network", public=True)
    assert found.severity == WARNING
    server.put(config("config-domain", **{"farm.example.com": ""}))
    assert patient.find("network", public=True) == []


def test_a_flag_that_the_site_needs(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node1", labels={"place": "barn"}))
    site = replace(SITE, selector={"place": "barn"})
    found = patient.one("features", site=site)
    assert found.severity == ERROR, "what stands in _example counts for nothing"
    assert "it cannot safely be disabled once enabled" in found.message
    assert found.fix.startswith("kubectl -n knative-serving patch configmap config-features")
    assert patient.find("features") == []
    server.put(config("config-features", **{"kubernetes.podspec-nodeselector": "Enabled"}))
    on = patient.one("features", site=site)
    assert (on.severity, "it cannot safely be disabled again" in on.message) == (NOTE, True)


def test_nodes_that_cannot_run_it(patient: Patient, server: FakeCluster) -> None:
    site = replace(SITE, selector={"place": "barn"})
    missing = patient.one("nodes", site=site)
    assert missing.fix == "kubectl label node NODE place=barn"
    server.put(node("node1", ready=False))
    assert patient.one("nodes").message == "none of 1 nodes is ready and takes pods"


def test_nodes_that_are_not_well(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node2", pressure="DiskPressure"))
    server.put(node("node3", ready=False))
    server.put(node("node4", unschedulable=True))
    found = [(one.severity, one.message.partition(":")[0]) for one in patient.find("nodes")]
    assert found == [
        (WARNING, "node node2 is under DiskPressure"),
        (WARNING, "node node3 is not ready"),
        (NOTE, "node node4 takes no new pods"),
    ]


def test_nodes_of_several_kinds(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node2", arch="arm64"))
    assert patient.one("nodes").fix.endswith("--platform linux/amd64 --platform linux/arm64")


def test_a_replica_that_fits_no_node(patient: Patient) -> None:
    cpu, memory = patient.find("nodes", cpu="4", memory="16Gi", memory_limit="16Gi")
    assert "asks for 4025m cpu, Knative's sidecar included, and the largest node has 4" in cpu.message
    assert memory.fix == "set knative.memory in eaves.yaml to less"


def test_a_broker_that_keeps_events(patient: Patient, server: FakeCluster) -> None:
    assert "at most once for whoever sends once" in patient.one("broker").message
    set_channel(server, "KafkaChannel")
    assert patient.find("broker") == []
    set_channel(server, "InMemoryChannel")
    assert patient.find("broker", broker_class="Kafka") == []
    assert patient.one("broker", broker_class="Something").severity == NOTE


def test_a_broker_that_answers_before_it_delivers(patient: Patient, server: FakeCluster) -> None:
    annotations = {"messaging.knative.dev/async-handler": "true"}
    there = bare("eventing.knative.dev/v1", "Broker", "eaves", namespace=HERE, annotations=annotations)
    server.put({**there, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    annotated = patient.find("broker", broker_class="MTChannelBasedBroker")
    assert any("async-handler has it answer before anything is delivered" in one.message for one in annotated)


def test_a_namespace_with_a_broker_class_of_its_own(patient: Patient, server: FakeCluster) -> None:
    text = "clusterDefault: {brokerClass: MTChannelBasedBroker}\nnamespaceDefaults: {barn: {brokerClass: Kafka}}\n"
    server.put(config("config-br-defaults", EVENTING, **{"default-br-config": text}))
    assert patient.find("broker") == []


def test_a_broker_that_is_there(patient: Patient, server: FakeCluster) -> None:
    annotations = {"eventing.knative.dev/broker.class": "Kafka"}
    there = bare("eventing.knative.dev/v1", "Broker", "eaves", namespace=HERE, annotations=annotations)
    status = {"conditions": [{"type": "Ready", "status": "False", "message": "topic is not present"}]}
    server.put({**there, "spec": {}, "status": status})
    assert patient.one("broker").message == "the Broker eaves is not ready: topic is not present"
    other, _ = patient.find("broker", broker_class="RabbitMQBroker")
    assert "a class can't be changed" in other.message


def test_a_broker_that_somebody_else_should_have_made(patient: Patient) -> None:
    assert patient.one("broker", create_broker=False).severity == ERROR


def test_where_undelivered_events_go(patient: Patient, server: FakeCluster) -> None:
    kept = TriggerSpec(
        name="kept", url="http://x.test/", delivery=DeliverySettings(dead_letter_sink="http://dead.test/")
    )
    lost = TriggerSpec(name="lost", url="http://x.test/")
    app = replace(APP, triggers=(*APP.triggers, kept, lost))
    own, other = patient.find("triggers", app=app)
    assert own.fix == "set knative.dead_letter_sink in eaves.yaml to an http(s) address"
    assert "the trigger lost has no" in other.message
    assert patient.find("triggers", app=app, dead_letter_sink="http://dead.test/") == []
    broker = bare("eventing.knative.dev/v1", "Broker", "eaves", namespace=HERE)
    server.put({**broker, "spec": {"delivery": {"deadLetterSink": {"uri": "http://dead.test/"}}}})
    assert patient.find("triggers") == []


def test_agents_that_are_not_told_their_sink(patient: Patient, server: FakeCluster) -> None:
    app = source(agent="node", path=Path("/photos"))
    assert patient.find("agents", app=app) == []
    server.put(deployment("eventing-webhook", EVENTING, "1.22.2", SINK_BINDING_SELECTION_MODE="inclusion"))
    found = patient.one("agents", app=app)
    assert found.fix == "kubectl label namespace eaves-agents bindings.knative.dev/include=true"


def test_a_namespace_that_is_not_there(patient: Patient) -> None:
    found = patient.one("namespace", site=replace(SITE, namespace="cellar"))
    assert found.fix == "kubectl create namespace cellar"


def test_pod_security_against_what_would_be_made(patient: Patient, server: FakeCluster) -> None:
    server.put(bare("v1", "Namespace", HERE, labels={"pod-security.kubernetes.io/enforce": "restricted"}))
    assert patient.find("namespace", app=source(agent="node", path=Path("/photos"))) == [], "it has its own namespace"
    assert patient.find("namespace", app=source(agent="claim", claim="photos")) == []


def test_quotas(patient: Patient, server: FakeCluster) -> None:
    server.put(quota("small", HERE, {"pods": "1", "requests.cpu": "300m", "limits.memory": "4Gi"}, {"pods": "1"}))
    limits, pods = patient.find("quota")
    assert "Knative's sidecar has none" in limits.message
    assert '"queueproxy.resource-defaults":"enabled"' in limits.fix
    assert "has 0 pods left" in pods.message
    unlimited = patient.find("quota", memory_limit="")
    assert "set knative.memory_limit in eaves.yaml" in [one.fix for one in unlimited]
    limit = {"type": "Container", "default": {"memory": "1Gi"}}
    server.put({**bare("v1", "LimitRange", "defaults", namespace=HERE), "spec": {"limits": [limit]}})
    assert [one.severity for one in patient.find("quota")] == [WARNING, NOTE]


def test_volumes_for_agents(patient: Patient, server: FakeCluster) -> None:
    app = source(agent="claim", claim="photos")
    assert "PersistentVolumeClaim photos of the source cam is not in barn" in patient.one("storage", app=app).message
    server.put({**bare("v1", "PersistentVolumeClaim", "photos", namespace=HERE), "spec": {}})
    assert patient.find("storage", app=app) == []
    server.put(storage_class("standard", default=False))
    assert patient.one("storage", app=app).fix.startswith("kubectl patch storageclass standard")


def test_what_the_user_may_not(patient: Patient, server: FakeCluster) -> None:
    verbs = ("*", "create", "patch")
    server.denied = {(verb, "triggers.eventing.knative.dev") for verb in verbs} | {("get", "pods/proxy")}
    hard, soft = patient.find("permissions")
    assert hard.message == (
        "the current user may not create, patch triggers.eventing.knative.dev in barn: eaves deploy, remove"
    )
    assert hard.fix == (
        "kubectl -n barn create role eaves-deploy --verb=create,patch --resource=triggers.eventing.knative.dev && "
        "kubectl "
        "-n barn create rolebinding eaves-deploy --role=eaves-deploy --user=USER"
    )
    assert (soft.severity, "pods/proxy" in soft.message) == (WARNING, True)


def test_a_namespace_of_its_own_for_agents_has_to_be_made(patient: Patient, server: FakeCluster) -> None:
    server.denied = {("*", "namespaces"), ("create", "namespaces")}
    found = patient.one("permissions", app=source(agent="node", path=Path("/photos")))
    assert found.message == "the current user may not create namespaces in the whole cluster: eaves deploy"
    assert "kubectl create clusterrolebinding eaves-deploy --clusterrole=eaves-deploy --user=USER" in found.fix


def test_what_may_not_be_seen_is_said_and_the_rest_is_looked_at(patient: Patient, server: FakeCluster) -> None:
    server.denied = {("list", "nodes"), ("get", "configmaps")}
    for check in ("nodes", "link", "features", "network", "broker"):
        found = patient.one(check)
        assert found.severity == NOTE
        assert found.message.startswith("can't be seen: ")
        assert found.fix
    assert patient.one("triggers").severity == WARNING


def test_what_eaves_yaml_lacks(patient: Patient) -> None:
    app = source(agent="claim")
    found = patient.find("settings", app=app, agent_image="")
    assert [one.message.partition(":")[0] for one in found] == ["knative.agent_image", "sources[0].claim"]


def test_a_container_image_that_is_still_to_come(patient: Patient) -> None:
    app = replace(APP, function=replace(APP.function, image=""))
    assert patient.find("settings", app=app) == []
    assert "no container image is named yet" in patient.one("registry", app=app).message


def test_what_pods_said_of_the_registry(patient: Patient, server: FakeCluster) -> None:
    assert "can't be seen from here" in patient.one("registry").message
    waiting = {"reason": "ImagePullBackOff", "message": "dial tcp: lookup registry.test: no such host"}
    status = {"name": "function", "image": IMAGE, "ready": False, "state": {"waiting": waiting}}
    pod = bare("v1", "Pod", "flowers-1", namespace=HERE)
    server.put({**pod, "spec": {"nodeName": "node1"}, "status": {"containerStatuses": [status]}})
    found = patient.one("registry")
    assert found.severity == WARNING
    assert "node node1 doesn't reach the registry registry.test:5000" in found.message


def secret(hosts: dict[str, Any], kind: str = "kubernetes.io/dockerconfigjson") -> dict[str, Any]:
    text = base64.b64encode(json.dumps({"auths": hosts}).encode()).decode()
    made = bare("v1", "Secret", "registry", namespace=HERE)
    return {**made, "type": kind, "data": {".dockerconfigjson": text}}


def test_the_pull_secret(patient: Patient, server: FakeCluster) -> None:
    missing = patient.one("pull-secret", pull_secret="registry")
    assert missing.fix.startswith(
        "kubectl -n barn create secret docker-registry registry --docker-server=registry.test:5000"
    )
    server.put(secret({"other.test": {"auth": "c2VjcmV0"}}))
    other = patient.one("pull-secret", pull_secret="registry")
    assert "has no entry for registry.test:5000 (it has other.test)" in other.message
    assert "c2VjcmV0" not in str(other)
    server.put(secret({"https://registry.test:5000/v2/": {}}))
    assert patient.find("pull-secret", pull_secret="registry") == []
    server.put(secret({}, "Opaque"))
    assert "of type Opaque" in patient.one("pull-secret", pull_secret="registry").message


@pytest.mark.parametrize(("skew_s", "severity"), [(60, WARNING), (-60, WARNING), (4000, ERROR)])
def test_clocks_that_do_not_agree(patient: Patient, server: FakeCluster, skew_s: float, severity: str) -> None:
    server.skew_s = skew_s
    found = patient.find("clock")[0]
    assert found.severity == severity
    assert found.message.startswith("this machine's clock and the API server's are ")


def test_a_node_whose_clock_is_wrong(patient: Patient, server: FakeCluster) -> None:
    server.put(lease("node2", ahead_s=-120), manager="kubelet")
    found = patient.one("clock")
    assert (found.severity, "node node2" in found.message) == (WARNING, True)


def test_on_which_side_of_the_link_it_is(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node1", provider="aws:///eu-west-1a/i-0abc", labels={"place": "barn"}))
    cloud = patient.one("link")
    assert (cloud.severity, "(aws)" in cloud.message) == (WARNING, True)
    chosen = patient.one("link", site=replace(SITE, selector={"place": "barn"}))
    assert "part of a larger cluster" in chosen.message
    server.put(node("node1", provider="k3s://node1"))
    server.delay_s = 0.05
    assert patient.one("link").severity == NOTE


def test_a_cluster_that_does_not_answer_ends_it(tmp_path: Path) -> None:
    with refusing_url() as url:
        file = write_kubeconfig(tmp_path / "kubeconfig", {"edge": url}, namespace=HERE, user=None)
        gone = open_cluster(kubeconfig=file, timeout_s=2)
        with pytest.raises(UnreachableClusterError):
            examine(gone, APP, SETTINGS, SITE)


def test_a_cluster_that_stops_answering_is_a_finding(server: FakeCluster, tmp_path: Path) -> None:
    impatient = open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace=HERE), timeout_s=1)
    server.fault = lambda request: Reply(status=0) if request.path.endswith("/nodes") else None
    findings = examine(impatient, APP, SETTINGS, SITE)
    assert (findings[-1].severity, findings[-1].check) == (ERROR, "nodes")
    assert findings[-1].message.startswith("the cluster stopped answering: ")
