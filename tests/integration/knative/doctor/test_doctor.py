"""An examination over HTTP: a cluster with Knative where all is well, and then one thing after another that isn't."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import OciError
from eaves.platform import DeliverySettings, FunctionSpec, SourceSpec, TriggerSpec, default_trigger
from eaves.platform.findings import ERROR, NOTE, OK, WARNING, Finding, worst
from knative.client.cluster import Cluster, open_cluster
from knative.doctor import examine
from knative.doctor.runner import CHECKS, name_of
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from tests.cluster.apps import at_site
from tests.fakes.controllers.installation import (
    EVENTING,
    GATEWAY,
    SERVING,
    bare,
    config,
    deployment,
    install_knative,
    node,
    set_channel,
)
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, open_apiserver

HERE = "barn"
IMAGE = "registry.test:5000/flowers@sha256:" + 64 * "a"
AGENT = "registry.test:5000/agent@sha256:" + 64 * "b"
SETTINGS = KnativeSettings(agent_image=AGENT)
SITE = SiteSettings(name="barn")
APP = ClusterApp(
    function=FunctionSpec(name="flowers", site="barn"),
    triggers=(default_trigger("flowers"),),
    image=IMAGE,
    knative=SETTINGS,
    site=SITE,
)


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

    def find(self, check: str, *, app: ClusterApp = APP, site: SiteSettings = SITE, **settings: Any) -> list[Finding]:
        """What one check finds, `ok` left out."""
        found = examine(self._cluster, at_site(app, replace(SETTINGS, **settings), site))
        return [finding for finding in found if finding.check == check and finding.severity != OK]

    def one(self, check: str, **more: Any) -> Finding:
        """The one thing that one check finds."""
        (finding,) = self.find(check, **more)
        return finding


@pytest.fixture
def patient(cluster: Cluster) -> Patient:
    return Patient(cluster)


def source(**values: Any) -> ClusterApp:
    return replace(APP, sources=(SourceSpec(name="cam", **values),))


def test_a_good_cluster_gets_a_list_of_what_it_does_not_keep(cluster: Cluster):
    findings = examine(cluster, APP)
    assert [(one.severity, one.check) for one in findings if one.severity not in {OK, NOTE}] == [
        (WARNING, "broker"),
        (WARNING, "triggers"),
    ]
    assert worst(findings) == WARNING
    assert all(one.fix for one in findings if one.severity in {WARNING, ERROR})
    assert {name_of(check) for check in CHECKS} - {"images"} <= {one.check for one in findings}


def test_nothing_is_changed(cluster: Cluster, server: FakeCluster):
    examine(cluster, APP)
    asked = {one.path for one in server.log if one.method != "GET" and one.query.get("dryRun") != "All"}
    assert asked == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}


def test_a_cluster_without_knative(patient: Patient, server: FakeCluster):
    server.unserved = {"serving.knative.dev/v1", "eventing.knative.dev/v1"}
    for check, file in (("serving", "serving-core.yaml"), ("eventing", "mt-channel-broker.yaml")):
        found = patient.one(check)
        assert found.severity == ERROR
        assert "kubectl apply -f https://" in found.fix
        assert file in found.fix


def test_a_part_of_knative_that_does_not_run_or_was_not_tried(patient: Patient, server: FakeCluster):
    for name in ("activator", "autoscaler", "controller", "webhook"):
        server.put(deployment(name, SERVING, "1.99.0"))
    assert (patient.one("serving").severity, "1.99.0" in patient.one("serving").message) == (NOTE, True)
    server.put(deployment("webhook", SERVING, "1.23.0", replicas=0))
    server.remove("Deployment", "eventing-controller", namespace=EVENTING)
    assert patient.one("serving").message == "webhook in knative-serving does not run"
    assert "but eventing-controller in knative-eventing is missing" in patient.one("eventing").message


def test_a_networking_layer_that_is_not_there(patient: Patient, server: FakeCluster):
    server.put(config("config-network"))
    found = patient.one("network")
    assert found.severity == ERROR
    assert "without a name it is istio" in found.message
    assert '"ingress-class":"kourier.ingress.networking.knative.dev"' in found.fix
    server.put(config("config-network", **{"ingress-class": "kourier.ingress.networking.knative.dev"}))
    server.remove("Service", "kourier-internal", namespace=GATEWAY)
    assert "the gateway of the networking layer kourier" in patient.one("network").message


def test_a_gateway_that_our_network_policy_keeps_out(patient: Patient, server: FakeCluster):
    server.put(config("config-network", **{"ingress-class": "contour.ingress.networking.knative.dev"}))
    server.put(bare("v1", "Service", "envoy", namespace="contour-internal"))
    found = patient.one("network")
    assert found.fix == "set knative.gateway_namespace in eaves.yaml to contour-internal"
    assert patient.find("network", gateway_namespace="contour-internal") == []
    server.put(config("config-network", **{"ingress-class": "other.example.com"}))
    assert patient.one("network").severity == NOTE


def test_a_cluster_whose_dns_is_elsewhere(patient: Patient, server: FakeCluster):
    server.remove("Pod", "coredns-1", namespace="kube-system")
    found = patient.one("dns")
    assert found.severity == WARNING
    assert "pods k8s-app=kube-dns in kube-system, but no such pod exists" in found.message
    referring = replace(APP, function=replace(APP.function, env={"EAVES_DATAREF_HOSTS": "store.example"}))
    assert patient.one("dns", app=referring).severity == ERROR
    assert "set knative.dns in eaves.yaml" in found.fix
    assert patient.find("dns", network_policy=False) == []
    label = {"dns.operator.openshift.io/daemonset-dns": "default"}
    server.put(bare("v1", "Pod", "dns-default-1", namespace="openshift-dns", labels=label))
    there = "openshift-dns/dns.operator.openshift.io/daemonset-dns=default:5353"
    assert patient.find("dns", dns=(there,)) == []


def test_what_the_api_server_would_refuse(patient: Patient, server: FakeCluster):
    """Flags, quotas, policies and namespaces: the API server and its webhooks judge, by a dry run."""
    server.put(node("node1", labels={"place": "barn"}))
    said = "validation failed: must not set the field(s): spec.template.spec.nodeSelector"
    server.admit = lambda value: said if value["kind"] == "Service" and "nodeSelector" in str(value) else ""
    found = patient.one("admission", site=replace(SITE, pod={"nodeSelector": {"place": "barn"}}))
    assert (found.severity, "kubernetes.podspec-nodeselector" in found.message) == (ERROR, True)
    assert found.fix.startswith("kubectl -n knative-serving patch configmap config-features")
    assert patient.find("admission") == []
    server.admit = lambda value: "images must come from our registry" if value["kind"] == "Service" else ""
    assert "images must come from our registry" in patient.one("admission").message
    missing = patient.one("admission", site=replace(SITE, namespace="cellar"))
    assert (missing.severity, "create namespace cellar" in missing.fix) == (ERROR, True)


def test_an_object_that_the_user_may_not_apply_keeps_no_other_from_being_tried(patient: Patient, server: FakeCluster):
    server.denied = {("patch", "namespaces")}
    server.admit = lambda value: "images must come from our registry" if value["kind"] == "Service" else ""
    denied, refused = patient.find("admission", app=source(agent="node", options={"path": "/p"}), pin=False)[:2]
    assert (denied.severity, "may not patch namespaces" in denied.message) == (NOTE, True)
    assert "images must come from our registry" in refused.message


def test_nodes_that_are_not_well_do_not_count(patient: Patient, server: FakeCluster):
    server.put(node("node1", ready=False))
    server.put(node("node2", unschedulable=True))
    assert patient.one("nodes").message == "none of 2 nodes is ready and accepts the pods"


def test_a_node_with_a_taint_that_the_pods_do_not_tolerate_does_not_count(patient: Patient, server: FakeCluster):
    tainted = node("node1")
    tainted["spec"]["taints"] = [
        {"key": "node-role.kubernetes.io/edge", "value": "yes", "effect": "NoSchedule"},
        {"key": "quiet", "effect": "PreferNoSchedule"},
    ]
    server.put(tainted)
    none, taint = patient.find("nodes")
    assert (none.severity, none.message) == (ERROR, "none of 1 nodes is ready and accepts the pods")
    assert taint.severity == ERROR
    assert taint.message.startswith("node node1 has the taint node-role.kubernetes.io/edge=yes:NoSchedule")
    assert (
        taint.fix
        == "set knative.pod.tolerations in eaves.yaml to [{key: node-role.kubernetes.io/edge, operator: Exists}]"
    )
    server.put(node("node2"))
    assert patient.one("nodes").severity == WARNING


def test_container_images_that_the_registry_lacks_for_a_node(cluster: Cluster, server: FakeCluster):
    server.put(node("node2", arch="arm64"))

    def look(answer: Any) -> Any:
        def platforms(image: str) -> set[str]:
            if isinstance(answer, OciError):
                raise answer
            return set(answer)

        findings = examine(cluster, APP, platforms=platforms)
        return next(one for one in findings if one.check == "images" and IMAGE in one.message)

    lacking = look({"amd64"})
    assert (lacking.severity, "is not built for arm64" in lacking.message) == (ERROR, True)
    assert "--platform linux/amd64 --platform linux/arm64" in lacking.fix
    assert look({"amd64", "arm64"}).severity == OK
    away = look(OciError("the registry does not answer"))
    assert (away.severity, "can't be checked from this machine" in away.message) == (NOTE, True)


def test_a_container_image_that_is_still_to_come_or_that_a_node_could_not_pull(patient: Patient, server: FakeCluster):
    app = replace(APP, image="")
    assert patient.find("settings", app=app) == []
    assert "eaves.yaml names no container image yet" in patient.one("images", app=app).message
    waiting = {"reason": "ImagePullBackOff", "message": "dial tcp: lookup registry.test: no such host"}
    status = {"name": "function", "image": IMAGE, "ready": False, "state": {"waiting": waiting}}
    spec = {"nodeName": "node1", "containers": [{"name": "function", "image": IMAGE}]}
    server.put(
        {**bare("v1", "Pod", "flowers-1", namespace=HERE), "spec": spec, "status": {"containerStatuses": [status]}}
    )
    found = patient.one("images")
    assert found.severity == WARNING
    assert "node node1 can't pull the container image registry.test:5000" in found.message


def test_a_broker_that_keeps_events(patient: Patient, server: FakeCluster):
    assert "an event that is sent once is delivered at most once" in patient.one("broker").message
    set_channel(server, "KafkaChannel")
    assert patient.find("broker") == []
    set_channel(server, "InMemoryChannel")
    assert patient.find("broker", broker_class="Kafka") == []
    assert patient.one("broker", broker_class="Something").severity == NOTE
    assert patient.one("broker", create_broker=False).severity == ERROR
    text = "clusterDefault: {brokerClass: MTChannelBasedBroker}\nnamespaceDefaults: {barn: {brokerClass: Kafka}}\n"
    server.put(config("config-br-defaults", EVENTING, **{"default-br-config": text}))
    assert patient.find("broker") == []


def test_where_undelivered_events_go(patient: Patient, server: FakeCluster):
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


def test_what_the_user_may_not(patient: Patient, server: FakeCluster):
    verbs = ("*", "create", "patch")
    server.denied = {(verb, "triggers.eventing.knative.dev") for verb in verbs}
    server.denied |= {(verb, "pods/portforward") for verb in ("*", "create")} | {("create", "services/proxy")}
    hard, soft, send = patient.find("permissions")
    assert hard.message == (
        "the current user may not create, patch triggers.eventing.knative.dev in barn (needed by eaves deploy, remove)"
    )
    assert hard.fix == (
        "kubectl -n barn create role eaves-deploy --verb=create,patch --resource=triggers.eventing.knative.dev && "
        "kubectl "
        "-n barn create rolebinding eaves-deploy --role=eaves-deploy --user=USER"
    )
    assert (soft.severity, "pods/portforward" in soft.message) == (WARNING, True)
    assert "--resource=services/proxy --resource-name=kourier-internal:80 &&" in send.fix


def test_what_may_not_be_seen_is_said_and_the_rest_is_looked_at(patient: Patient, server: FakeCluster):
    server.denied = {("list", "nodes"), ("get", "configmaps")}
    for check in ("nodes", "network", "broker"):
        found = patient.one(check)
        assert found.severity == NOTE
        assert found.message.startswith("this check is not permitted: ")
        assert found.fix
    assert patient.one("triggers").severity == WARNING


def test_a_cluster_that_stops_answering_is_a_finding(server: FakeCluster, tmp_path: Path):
    impatient = open_cluster(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig", namespace=HERE), timeout_s=1)
    server.fault = lambda request: Reply(status=0) if request.path.endswith("/nodes") else None
    findings = examine(impatient, APP)
    assert (findings[-1].severity, findings[-1].check) == (ERROR, "nodes")
    assert findings[-1].message.startswith("the cluster stopped answering: ")
