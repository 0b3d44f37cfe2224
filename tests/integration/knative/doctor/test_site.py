"""An examination over HTTP: what an app would meet at its site, one thing after another that isn't well."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import UnreachableClusterError
from knative.client.cluster import open_cluster
from knative.doctor import ERROR, NOTE, WARNING, examine
from tests.cluster.examinations import APP, HERE, IMAGE, SETTINGS, SITE, Patient, cluster, patient, server, source
from tests.fakes.controllers.installation import EVENTING, bare, deployment, lease, node, quota, storage_class
from tests.fakes.kubernetes.apiserver import FakeCluster, refusing_url
from tests.fakes.kubernetes.kubeconfig import write_kubeconfig
from tests.fakes.kubernetes.wire import Reply

__all__ = ["cluster", "patient", "server"]


def test_agents_that_do_not_know_their_sink(patient: Patient, server: FakeCluster) -> None:
    app = source(agent="node", options={"path": "/photos"})
    assert patient.find("agents", app=app) == []
    server.put(deployment("eventing-webhook", EVENTING, "1.22.2", SINK_BINDING_SELECTION_MODE="inclusion"))
    found = patient.one("agents", app=app)
    assert found.fix == "kubectl label namespace eaves-agents bindings.knative.dev/include=true"


def test_a_namespace_that_is_not_there(patient: Patient) -> None:
    found = patient.one("namespace", site=replace(SITE, namespace="cellar"))
    assert found.fix == "kubectl create namespace cellar"


def test_pod_security_against_what_would_be_made(patient: Patient, server: FakeCluster) -> None:
    server.put(bare("v1", "Namespace", HERE, labels={"pod-security.kubernetes.io/enforce": "restricted"}))
    on_nodes = source(agent="node", options={"path": "/photos"})
    assert patient.find("namespace", app=on_nodes) == [], "it has its own namespace"
    assert patient.find("namespace", app=source(agent="claim", claim="photos")) == []


def test_quotas(patient: Patient, server: FakeCluster) -> None:
    server.put(quota("small", HERE, {"pods": "1", "requests.cpu": "300m", "limits.memory": "4Gi"}, {"pods": "1"}))
    limits, pods = patient.find("quota")
    assert "Knative's sidecar has none" in limits.message
    assert '"queueproxy.resource-defaults":"enabled"' in limits.fix
    assert "has 0 pods left" in pods.message
    unlimited = patient.find("quota", pod={"resources": {"limits": {"memory": None}}})
    assert "set knative.pod.resources.limits.memory in eaves.yaml" in [one.fix for one in unlimited]
    limit = {"type": "Container", "default": {"memory": "1Gi"}}
    server.put({**bare("v1", "LimitRange", "defaults", namespace=HERE), "spec": {"limits": [limit]}})
    assert [one.severity for one in patient.find("quota")] == [WARNING, NOTE]


def test_volumes_for_agents(patient: Patient, server: FakeCluster) -> None:
    app = source(agent="claim", claim="photos")
    assert (
        "PersistentVolumeClaim photos of the source cam does not exist in barn"
        in patient.one("storage", app=app).message
    )
    server.put({**bare("v1", "PersistentVolumeClaim", "photos", namespace=HERE), "spec": {}})
    assert patient.find("storage", app=app) == []
    server.put(storage_class("standard", default=False))
    assert patient.one("storage", app=app).fix.startswith("kubectl patch storageclass standard")


def test_what_the_user_may_not(patient: Patient, server: FakeCluster) -> None:
    verbs = ("*", "create", "patch")
    server.denied = {(verb, "triggers.eventing.knative.dev") for verb in verbs}
    server.denied |= {(verb, "pods/portforward") for verb in ("*", "create")}
    hard, soft = patient.find("permissions")
    assert hard.message == (
        "the current user may not create, patch triggers.eventing.knative.dev in barn (needed by eaves deploy, remove)"
    )
    assert hard.fix == (
        "kubectl -n barn create role eaves-deploy --verb=create,patch --resource=triggers.eventing.knative.dev && "
        "kubectl "
        "-n barn create rolebinding eaves-deploy --role=eaves-deploy --user=USER"
    )
    assert (soft.severity, "pods/portforward" in soft.message) == (WARNING, True)


def test_who_may_not_exec_learns_what_the_queues_of_agents_take(patient: Patient, server: FakeCluster) -> None:
    server.denied = {(verb, "pods/exec") for verb in ("*", "get", "create")}
    assert patient.find("permissions") == [], "there is no agent"
    beside = patient.one("permissions", app=source(agent="claim", claim="photos"))
    assert (beside.severity, beside.message) == (
        WARNING,
        "the current user may not get, create pods/exec in barn (needed by eaves queue)",
    )
    assert beside.fix.startswith("kubectl -n barn create role eaves-queue-exec --verb=get,create --resource=pods/exec ")
    server.denied |= {(verb, "pods/portforward") for verb in ("*", "get", "create")}
    found = [one.message for one in patient.find("permissions", app=source(agent="node", options={"path": "/photos"}))]
    assert "the current user may not get, create pods/exec in eaves-agents (needed by eaves queue)" in found
    assert "the current user may not get, create pods/portforward in eaves-agents (needed by eaves status)" in found


def test_a_namespace_of_its_own_for_agents_has_to_be_made(patient: Patient, server: FakeCluster) -> None:
    server.denied = {("*", "namespaces"), ("create", "namespaces")}
    found = patient.one("permissions", app=source(agent="node", options={"path": "/photos"}))
    assert found.message == "the current user may not create namespaces in the whole cluster (needed by eaves deploy)"
    assert "kubectl create clusterrolebinding eaves-deploy --clusterrole=eaves-deploy --user=USER" in found.fix


def test_what_may_not_be_seen_is_said_and_the_rest_is_looked_at(patient: Patient, server: FakeCluster) -> None:
    server.denied = {("list", "nodes"), ("get", "configmaps")}
    for check in ("nodes", "link", "features", "network", "broker"):
        found = patient.one(check)
        assert found.severity == NOTE
        assert found.message.startswith("this check is not permitted: ")
        assert found.fix
    assert patient.one("triggers").severity == WARNING


def test_what_eaves_yaml_lacks(patient: Patient) -> None:
    app = source(agent="claim")
    found = patient.find("settings", app=app, agent_image="")
    assert [one.message.partition(":")[0] for one in found] == ["knative.agent_image", "sources[0].claim"]


def test_a_container_image_that_is_still_to_come(patient: Patient) -> None:
    app = replace(APP, function=replace(APP.function, image=""))
    assert patient.find("settings", app=app) == []
    assert "eaves.yaml names no container image yet" in patient.one("registry", app=app).message


def test_a_pod_that_runs_a_container_image_of_the_registry(patient: Patient, server: FakeCluster) -> None:
    """containerd tells `image` of what it fetched by digest as a bare digest, and `imageID` as the name."""
    assert "no pod in the namespace has pulled from it yet" in patient.one("registry").message
    status = {"name": "function", "image": "sha256:" + 64 * "c", "imageID": IMAGE, "state": {"running": {}}}
    server.put({**bare("v1", "Pod", "one", namespace=HERE), "spec": {}, "status": {"containerStatuses": [status]}})
    assert "a pod in the namespace runs a container image of this registry" in patient.one("registry").message


def test_what_pods_said_of_the_registry(patient: Patient, server: FakeCluster) -> None:
    assert "can't be checked from this machine" in patient.one("registry").message
    waiting = {"reason": "ImagePullBackOff", "message": "dial tcp: lookup registry.test: no such host"}
    status = {"name": "function", "image": IMAGE, "ready": False, "state": {"waiting": waiting}}
    pod = bare("v1", "Pod", "flowers-1", namespace=HERE)
    server.put({**pod, "spec": {"nodeName": "node1"}, "status": {"containerStatuses": [status]}})
    found = patient.one("registry")
    assert found.severity == WARNING
    assert "node node1 can't pull the container image registry.test:5000" in found.message


def secret(hosts: dict[str, Any], kind: str = "kubernetes.io/dockerconfigjson") -> dict[str, Any]:
    text = base64.b64encode(json.dumps({"auths": hosts}).encode()).decode()
    made = bare("v1", "Secret", "registry", namespace=HERE)
    return {**made, "type": kind, "data": {".dockerconfigjson": text}}


def test_the_pull_secret(patient: Patient, server: FakeCluster) -> None:
    missing = patient.one("pull-secret", pod={"imagePullSecrets": [{"name": "registry"}]})
    assert missing.fix.startswith(
        "kubectl -n barn create secret docker-registry registry --docker-server=registry.test:5000"
    )
    server.put(secret({"other.test": {"auth": "c2VjcmV0"}}))
    other = patient.one("pull-secret", pod={"imagePullSecrets": [{"name": "registry"}]})
    assert "has no entry for registry.test:5000 (it has other.test)" in other.message
    assert "c2VjcmV0" not in str(other)
    server.put(secret({"https://registry.test:5000/v2/": {}}))
    assert patient.find("pull-secret", pod={"imagePullSecrets": [{"name": "registry"}]}) == []
    server.put(secret({}, "Opaque"))
    assert "has the type Opaque" in patient.one("pull-secret", pod={"imagePullSecrets": [{"name": "registry"}]}).message


@pytest.mark.parametrize(("skew_s", "severity"), [(60, WARNING), (-60, WARNING), (4000, ERROR)])
def test_clocks_that_do_not_agree(patient: Patient, server: FakeCluster, skew_s: float, severity: str) -> None:
    server.skew_s = skew_s
    found = patient.find("clock")[0]
    assert found.severity == severity
    assert found.message.startswith("this machine's clock and the API server's differ by ")


def test_a_node_whose_clock_is_wrong(patient: Patient, server: FakeCluster) -> None:
    server.put(lease("node2", ahead_s=-120), manager="kubelet")
    found = patient.one("clock")
    assert (found.severity, "node node2" in found.message) == (WARNING, True)


def test_on_which_side_of_the_link_it_is(patient: Patient, server: FakeCluster) -> None:
    server.put(node("node1", provider="aws:///eu-west-1a/i-0abc", labels={"place": "barn"}))
    cloud = patient.one("link")
    assert (cloud.severity, "(aws)" in cloud.message) == (WARNING, True)
    chosen = patient.one("link", site=replace(SITE, pod={"nodeSelector": {"place": "barn"}}))
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
