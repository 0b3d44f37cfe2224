"""An examination over HTTP: addresses that a pod tries for the doctor, and the Secrets that go with them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from eaves.platform.findings import ERROR, NOTE, OK, WARNING, Finding
from eaves.reachability import Reached
from knative.client.cluster import Cluster
from knative.doctor import examine
from knative.specs import ClusterApp, ClusterMqttSettings, ClusterTrigger
from tests.cluster.examinations import APP, HERE, SETTINGS, SITE, Patient, cluster, patient, server
from tests.cluster.manifests import pod_templates, restricted_faults, validate
from tests.fakes.kubernetes.apiserver import FakeCluster

__all__ = ["cluster", "patient", "server"]

PLAIN, TLS = "broker.lan:1883", "tls://broker.lan:8883"


def publishing(url: str = "mqtt://broker.lan/gate", **mqtt: Any) -> ClusterApp:
    trigger = ClusterTrigger(name="out", url=url, mqtt=ClusterMqttSettings(**mqtt))
    return replace(APP, triggers=(*APP.triggers, trigger))


def play_pod(server: FakeCluster, *reports: Reached, phase: str = "Succeeded", **status: Any) -> list[dict[str, Any]]:
    """Let the doctor's pod end with these reports; the pods that were made."""
    made: list[dict[str, Any]] = []
    message = "".join(f"{json.dumps(asdict(one))}\n" for one in reports)
    ended = [{"name": "probe", "state": {"terminated": {"exitCode": 0, "message": message}}}]

    def run(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Pod":
            made.append(manifest)
            reported = {"phase": phase, **({"containerStatuses": ended} if phase == "Succeeded" else {}), **status}
            server.status("Pod", manifest["metadata"]["name"], reported, namespace=HERE)

    server.on_apply(run)
    return made


def look(cluster: Cluster, app: ClusterApp, **more: Any) -> list[Finding]:
    found = examine(cluster, app, SETTINGS, SITE, **more)
    return [one for one in found if one.check == "reachability"]


def test_an_address_that_is_reached(cluster: Cluster, server: FakeCluster) -> None:
    play_pod(server, Reached(address=PLAIN))
    (found,) = look(cluster, publishing())
    assert (found.severity, found.message) == (OK, f"the trigger out reaches {PLAIN}")
    assert server.all("Pod", namespace=HERE) == [], "its pod is gone"


@pytest.mark.parametrize(
    ("failed", "message", "fix"),
    [
        (
            "name",
            "Name or service not known",
            "replace broker.lan by an IP address or a name that the cluster's DNS can resolve",
        ),
        ("connection", "Connection refused", "kubectl -n barn get networkpolicies"),
        ("certificate", "self-signed certificate", "create secret generic login --from-file=ca.crt=FILE"),
        ("tls", "wrong version number", "to its port for TLS, or to a scheme without TLS"),
    ],
)
def test_an_address_that_is_not_reached(
    cluster: Cluster, server: FakeCluster, failed: str, message: str, fix: str
) -> None:
    play_pod(server, Reached(address=TLS, failed=failed, message=message))
    (found,) = look(cluster, publishing("mqtts://broker.lan/gate", secret="login"))
    assert found.severity == ERROR
    assert found.message == f"the trigger out can't reach {TLS} from inside the cluster: {message}"
    assert fix in found.fix


def test_the_pod_may_do_nothing_and_sees_authorities_only(cluster: Cluster, server: FakeCluster) -> None:
    pods = play_pod(server, Reached(address=TLS))
    look(cluster, publishing("mqtts://broker.lan/gate", secret="login"))
    (pod,) = pods
    (template,) = pod_templates(pod)
    assert restricted_faults(template) == []
    validate({key: value for key, value in pod.items() if key != "status"})
    spec = pod["spec"]
    assert (spec["automountServiceAccountToken"], spec["activeDeadlineSeconds"]) == (False, 120)
    (volume,) = spec["volumes"]
    assert volume["secret"] == {
        "secretName": "login",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
        "optional": True,
    }
    (attempt,) = json.loads(spec["containers"][0]["args"][0])
    assert attempt == [TLS, "/credentials/login/ca.crt"]


def test_an_app_that_names_no_address_makes_no_pod(cluster: Cluster, server: FakeCluster) -> None:
    made = play_pod(server)
    assert look(cluster, APP) == []
    assert made == []


def test_a_user_who_may_make_no_pod(cluster: Cluster, server: FakeCluster) -> None:
    server.denied = {("patch", "pods"), ("create", "pods")}
    (found,) = look(cluster, publishing())
    assert (found.severity, PLAIN in found.message) == (NOTE, True)
    assert found.fix.startswith("kubectl -n barn create role eaves-doctor --verb=create,patch,get,list,delete")


def test_a_pod_that_never_starts_is_reported_with_its_reason_and_deleted(cluster: Cluster, server: FakeCluster) -> None:
    waiting = [{"name": "probe", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]
    play_pod(server, phase="Pending", containerStatuses=waiting)
    (found,) = look(cluster, publishing(), probe_wait_s=0.2)
    assert (found.severity, "ImagePullBackOff: not found" in found.message) == (WARNING, True)
    assert server.all("Pod", namespace=HERE) == []


def secret(server: FakeCluster, *keys: str, name: str = "login") -> None:
    metadata = {"name": name, "namespace": HERE}
    server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": dict.fromkeys(keys, "eA==")})


def test_secrets_that_are_not_there_or_of_no_use(patient: Patient, server: FakeCluster) -> None:
    app = publishing(secret="login")
    play_pod(server, Reached(address=PLAIN))
    missing = patient.one("credentials", app=app)
    assert (missing.severity, missing.message) == (
        ERROR,
        "the Secret login does not exist in barn, and StatefulSet flowers-out-mqtt can't start without it",
    )
    assert missing.fix.startswith("kubectl -n barn create secret generic login --from-literal=username=USER")
    secret(server, "username", "password", "ca.crt")
    assert patient.find("credentials", app=app) == []
