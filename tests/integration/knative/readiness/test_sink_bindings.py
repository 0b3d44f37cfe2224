"""A SinkBinding that says its sink can't be resolved, after the sink has come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.errors import StartError
from knative.client.cluster import Cluster
from knative.deploy.apply import apply_app
from knative.readiness.wait import wait_whole
from knative.resources.metadata import TOUCHED_ANNOTATION
from knative.resources.rendering import render_app
from knative.specs import ClusterApp, ClusterSource
from tests.cluster.apps import NAME, full_settings, plain_app
from tests.cluster.deploys import HOME, OWNER, SITE
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

BROKER, BINDING = "eventing.knative.dev/v1/Broker", "sources.knative.dev/v1/SinkBinding"
SAID = "Addressable could not be extracted from destination: address not set for Kind = Broker"


def watched_app() -> ClusterApp:
    return replace(plain_app(), sources=(ClusterSource(name="inbox", claim="photos"),))


def deploy_whole(cluster: Cluster, timeout_s: float = 10.0, patience_s: float = 60.0) -> None:
    manifests = render_app(watched_app(), full_settings(), SITE)
    apply_app(cluster, manifests, OWNER)
    wait_whole(cluster, NAME, manifests, timeout_s=timeout_s, poll_s=0.1, patience_s=patience_s)


def binding(server: FakeCluster) -> dict[str, object]:
    (found,) = server.all(BINDING, namespace=HOME)
    return found


def leave_unresolved(server: FakeCluster) -> str:
    """Set the status that Knative gives a SinkBinding without its sink, and that stays when the sink is back.

    Source: Eventing 1.22, watched: for minutes, until the SinkBinding is changed.
    """
    metadata = binding(server)["metadata"]
    assert isinstance(metadata, dict)
    said = {"status": "False", "reason": "NoAddressable", "message": SAID}
    conditions = [{"type": "SinkProvided", **said}, {"type": "Ready", **said}]
    reported = {"observedGeneration": metadata["generation"], "conditions": conditions}
    server.status(BINDING, metadata["name"], reported, namespace=HOME)
    return str(metadata["name"])


def touches(server: FakeCluster) -> int:
    return sum(TOUCHED_ANNOTATION in one.body.decode() for one in server.asked("PATCH", "/sinkbindings/"))


def test_a_deploy_is_whole_when_the_broker_that_somebody_deleted_is_back(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy_whole(cluster)
    assert touches(apiserver) == 0
    apiserver.remove(BROKER, "eaves", namespace=HOME)
    leave_unresolved(apiserver)
    deploy_whole(cluster)
    assert touches(apiserver) == 1


def test_nothing_is_touched_before_the_broker_has_its_address(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy_whole(cluster)
    apiserver.remove(BROKER, "eaves", namespace=HOME)
    leave_unresolved(apiserver)
    knative.held.add("Broker")
    with pytest.raises(StartError):
        deploy_whole(cluster, timeout_s=1)
    assert touches(apiserver) == 0


def test_one_that_stays_unresolved_is_touched_now_and_then_and_said(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy_whole(cluster)
    name = leave_unresolved(apiserver)
    knative.held.add("SinkBinding")
    with pytest.raises(StartError, match=f"SinkBinding {name}: its sink can't be resolved"):
        deploy_whole(cluster, patience_s=1)
    assert touches(apiserver) == 1, "many looks, one touch"


def test_the_binding_that_knative_makes_for_a_container_source_is_touched(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    app = replace(plain_app(), sources=(ClusterSource(name="archive", agent="reader", claim="archive"),))
    manifests = render_app(app, full_settings(), SITE)
    said = ("SinkBindingReady", "False", "NoAddressable", SAID)
    (source,) = [one["metadata"]["name"] for one in manifests if one["kind"] == "ContainerSource"]
    knative.broken["ContainerSource", source] = said
    apply_app(cluster, manifests, OWNER)
    owner = {"apiVersion": "sources.knative.dev/v1", "kind": "ContainerSource", "name": source, "uid": "1"}
    made = {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "SinkBinding",
        "metadata": {"name": f"{source}-sinkbinding", "ownerReferences": [owner]},
        "status": {"conditions": [{"type": "SinkProvided", "status": "False"}]},
    }
    apiserver.put(made, manager="webhook", namespace=HOME)
    with pytest.raises(StartError):
        wait_whole(cluster, NAME, manifests, timeout_s=10, poll_s=0.1, patience_s=0.5)
    assert touches(apiserver) == 1
