"""An examination over HTTP: a cluster with Knative where all is well, and then one thing after another that isn't."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.platform import DeliverySettings
from knative.client.cluster import Cluster
from knative.doctor import CHECKS, ERROR, NOTE, OK, WARNING, examine, worst
from knative.specs import ClusterTrigger
from tests.cluster.examinations import APP, HERE, IMAGE, SETTINGS, SITE, Patient, cluster, patient, server
from tests.fakes.controllers.installation import EVENTING, GATEWAY, SERVING, bare, config, deployment, node, set_channel
from tests.fakes.kubernetes.apiserver import FakeCluster

__all__ = ["cluster", "patient", "server"]


def test_a_good_cluster_gets_a_list_of_what_it_does_not_keep(cluster: Cluster) -> None:
    findings = examine(cluster, APP, SETTINGS, SITE)
    assert [(one.severity, one.check) for one in findings if one.severity not in {OK, NOTE}] == [
        (WARNING, "broker"),
        (WARNING, "triggers"),
    ]
    assert worst(findings) == WARNING
    assert all(one.fix for one in findings if one.severity in {WARNING, ERROR})
    assert {name for name, _ in CHECKS} - {"pull-secret", "storage", "agents", "credentials", "reachability"} <= {
        one.check for one in findings
    }


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
    assert patient.one("serving").message == "webhook in knative-serving does not run"
    assert "but eventing-controller in knative-eventing is missing" in patient.one("eventing").message


def test_an_old_eventing_lacks_what_is_applied(patient: Patient, server: FakeCluster) -> None:
    server.unserved = {"eventing.knative.dev/v1beta3", "sinks.knative.dev/v1alpha1"}
    old, sink = patient.find("eventing")
    assert (old.severity, "does not have EventType eventing.knative.dev/v1beta3" in old.message) == (ERROR, True)
    assert (sink.severity, sink.message.split()[0]) == (NOTE, "JobSink")
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
    assert "config-network names no networking layer, which means Istio" in found.message
    assert '"ingress-class":"kourier.ingress.networking.knative.dev"' in found.fix


def test_a_networking_layer_in_pieces(patient: Patient, server: FakeCluster) -> None:
    server.put(deployment("net-kourier-controller", SERVING, "1.23.0", replicas=0))
    assert "net-kourier-controller in knative-serving does not run" in patient.one("network").message
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
    site = replace(SITE, pod={"nodeSelector": {"place": "barn"}})
    found = patient.one("features", site=site)
    assert found.severity == ERROR, "what stands in _example counts for nothing"
    assert "it cannot safely be disabled once enabled" in found.message
    assert found.fix.startswith("kubectl -n knative-serving patch configmap config-features")
    assert patient.find("features") == []
    server.put(config("config-features", **{"kubernetes.podspec-nodeselector": "Enabled"}))
    on = patient.one("features", site=site)
    assert (on.severity, "it can't be disabled again safely" in on.message) == (NOTE, True)


def test_nodes_that_cannot_run_it(patient: Patient, server: FakeCluster) -> None:
    site = replace(SITE, pod={"nodeSelector": {"place": "barn"}})
    missing = patient.one("nodes", site=site)
    assert missing.fix == "kubectl label node NODE place=barn"
    server.put(node("node1", ready=False))
    assert patient.one("nodes").message == "none of 1 nodes is ready and accepts pods"


def test_nodes_that_are_not_well(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node2", pressure="DiskPressure"))
    server.put(node("node3", ready=False))
    server.put(node("node4", unschedulable=True))
    found = [(one.severity, one.message.partition(":")[0]) for one in patient.find("nodes")]
    assert found == [
        (WARNING, "node node2 reports DiskPressure"),
        (WARNING, "node node3 is not ready"),
        (NOTE, "node node4 accepts no new pods (it is cordoned)"),
    ]


def test_nodes_of_several_kinds(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node2", arch="arm64"))
    assert patient.one("nodes").fix.endswith("--platform linux/amd64 --platform linux/arm64")


def test_a_replica_that_fits_no_node(patient: Patient) -> None:
    cpu, memory = patient.find(
        "nodes", pod={"resources": {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}}
    )
    assert "requests 4025m cpu, Knative's sidecar included, but the largest node has only 4" in cpu.message
    assert memory.fix == "lower knative.memory in eaves.yaml"


def test_a_broker_that_keeps_events(patient: Patient, server: FakeCluster) -> None:
    assert "an event that is sent once is delivered at most once" in patient.one("broker").message
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
    assert any("async-handler makes it answer before the delivery" in one.message for one in annotated)


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
    assert "the class of a Broker can't be changed" in other.message


def test_a_broker_that_somebody_else_should_have_made(patient: Patient) -> None:
    assert patient.one("broker", create_broker=False).severity == ERROR


def test_where_undelivered_events_go(patient: Patient, server: FakeCluster) -> None:
    kept = ClusterTrigger(
        name="kept", url="http://x.test/", delivery=DeliverySettings(dead_letter_sink="http://dead.test/")
    )
    lost = ClusterTrigger(name="lost", url="http://x.test/")
    app = replace(APP, triggers=(*APP.triggers, kept, lost))
    own, other = patient.find("triggers", app=app)
    assert own.fix == "set knative.dead_letter_sink in eaves.yaml to an http(s) address"
    assert "the trigger lost has no" in other.message
    assert patient.find("triggers", app=app, dead_letter_sink="http://dead.test/") == []
    broker = bare("eventing.knative.dev/v1", "Broker", "eaves", namespace=HERE)
    server.put({**broker, "spec": {"delivery": {"deadLetterSink": {"uri": "http://dead.test/"}}}})
    assert patient.find("triggers") == []
