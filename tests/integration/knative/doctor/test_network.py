"""What the doctor says of names and metrics where the network keeps to NetworkPolicies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knative.client.cluster import Cluster
from knative.doctor import ERROR, NOTE, OK, WARNING, examine
from tests.cluster.examinations import APP, HERE, SETTINGS, SITE, Patient, cluster, patient, server
from tests.fakes.controllers.installation import bare
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request

__all__ = ["cluster", "patient", "server"]

REFERRING = replace(APP, function=replace(APP.function, env={"EAVES_DATAREF_HOSTS": "store.example"}))


def run_pod(server: FakeCluster, name: str, **labels: str) -> None:
    server.put({**bare("v1", "Pod", name, namespace=HERE, labels=labels), "status": {"phase": "Running"}})


def test_a_cluster_whose_dns_is_elsewhere(patient: Patient, server: FakeCluster) -> None:
    server.remove("Pod", "coredns-1", namespace="kube-system")
    found = patient.one("dns")
    assert found.severity == WARNING
    assert "pods k8s-app=kube-dns in kube-system, but no such pod exists" in found.message
    assert patient.one("dns", app=REFERRING).severity == ERROR
    assert "set knative.dns in eaves.yaml" in found.fix
    assert patient.find("dns", network_policy=False) == []
    label = {"dns.operator.openshift.io/daemonset-dns": "default"}
    server.put(bare("v1", "Pod", "dns-default-1", namespace="openshift-dns", labels=label))
    there = "openshift-dns/dns.operator.openshift.io/daemonset-dns=default:5353"
    assert patient.find("dns", dns=(there,)) == []


def test_a_node_that_answers_for_names_itself(patient: Patient, server: FakeCluster) -> None:
    cache = bare("apps/v1", "DaemonSet", "node-local-dns", namespace="kube-system")
    arguments = ["-localip", "169.254.20.10,10.96.0.10", "-conf", "/etc/Corefile"]
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "cache", "args": arguments}]}}
    server.put({**cache, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}})
    found = patient.one("dns")
    assert (found.severity, "at 169.254.20.10, 10.96.0.10" in found.message) == (WARNING, True)
    wanted = ("kube-system/k8s-app=kube-dns", "169.254.20.10", "10.96.0.10")
    assert found.fix == f"set knative.dns in eaves.yaml to [{', '.join(wanted)}]"
    assert patient.find("dns", dns=wanted) == []


def test_metrics_are_read_from_a_pod_of_the_function(cluster: Cluster, server: FakeCluster) -> None:
    asked: list[Request] = []

    def backend(request: Request) -> Reply:
        asked.append(request)
        return Reply(body=b"eaves_requests_total 1\n")

    server.backend, server.policies_enforced = backend, True
    run_pod(server, "flowers-00001-x", **{"serving.knative.dev/service": "flowers"})
    found = [one for one in examine(cluster, APP, SETTINGS, SITE) if one.check == "metrics"]
    assert [(one.severity, one.message) for one in found] == [
        (OK, "the metrics of flowers-00001-x can be read by port-forward")
    ]
    assert [(one.target, one.path) for one in asked] == [("pods/flowers-00001-x:8080", "/metrics")]


def test_without_a_pod_of_the_function_one_of_its_agents_is_asked(patient: Patient, server: FakeCluster) -> None:
    assert patient.one("metrics").severity == NOTE
    asked: list[str] = []

    def backend(request: Request) -> Reply:
        asked.append(request.target)
        return Reply(status=500)

    server.backend = backend
    run_pod(server, "flowers-cam-0", **{"eaves.dev/app": "flowers", "app.kubernetes.io/component": "source"})
    found = patient.one("metrics")
    assert (found.severity, found.message) == (WARNING, "flowers-cam-0 answered 500 to a request for its metrics")
    assert asked == ["pods/flowers-cam-0:9090"]


@pytest.mark.parametrize("verb", ["get", "create"])
def test_a_user_who_may_not_forward_ports(patient: Patient, server: FakeCluster, verb: str) -> None:
    server.denied = {(verb, "pods/portforward"), ("*", "pods/portforward")}
    server.backend = lambda request: Reply()
    run_pod(server, "flowers-00001-x", **{"serving.knative.dev/service": "flowers"})
    found = patient.one("metrics")
    assert found.severity == WARNING
    assert f"may not {verb} pods/portforward in namespace barn: metrics are read through" in found.message
    assert "--verb=get,create --resource=pods/portforward" in found.fix
    permission = patient.one("permissions")
    assert permission.severity == WARNING
    assert (
        f"the current user may not {verb} pods/portforward in barn (needed by eaves status, rollout)"
        in permission.message
    )


def test_something_on_the_way_that_takes_no_websockets(patient: Patient, server: FakeCluster) -> None:
    server.takes_websockets = False
    run_pod(server, "flowers-00001-x", **{"serving.knative.dev/service": "flowers"})
    found = patient.one("metrics")
    assert (found.severity, "answered 400 to a port-forward" in found.message) == (WARNING, True)
    assert found.fix.startswith("allow WebSockets to")


def test_a_function_that_does_not_listen(patient: Patient, server: FakeCluster) -> None:
    run_pod(server, "flowers-00001-x", **{"serving.knative.dev/service": "flowers"})
    found = patient.one("metrics")
    assert (found.severity, "port 8080 refuses connections" in found.message) == (WARNING, True)
