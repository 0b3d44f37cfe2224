"""What others made, or changed: shown with what would be taken from whom, and taken over only when that is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import ConflictError
from knative.client.cluster import Cluster
from knative.deploy.ownership import ADOPTED, CREATED, UNCHANGED
from knative.deploy.removal import remove_app
from knative.settings import KnativeSettings
from tests.cluster.apps import full_app, full_settings, plain_app
from tests.cluster.deploys import AGENTS, OWNER, deploy, objects, outcomes
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

API = "serving.knative.dev/v1"
SERVICE, BROKER, TRIGGER = f"{API}/Service", "eventing.knative.dev/v1/Broker", "eventing.knative.dev/v1/Trigger"


def by_kn(apiserver: FakeCluster, **labels: str) -> dict[str, Any]:
    """What `kn service create flowers` makes."""
    container = {"name": "user-container", "image": "registry.example/other:1", "env": [{"name": "A", "value": "b"}]}
    metadata = {"name": "flowers", "labels": labels}
    manifest = {"apiVersion": API, "kind": "Service", "metadata": metadata}
    return apiserver.put(
        {**manifest, "spec": {"template": {"spec": {"containers": [container]}}}}, manager="kn", namespace="cams"
    )


def test_a_function_of_kns_is_shown_with_its_fields_and_nothing_is_applied(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    by_kn(apiserver)
    before = objects(apiserver)
    with pytest.raises(ConflictError, match=r"edge: Service flowers exists already .*: it was created by kn") as raised:
        deploy(cluster, plain_app())
    assert "`eaves deploy IMAGE --on knative --adopt`" in str(raised.value.hint)
    assert objects(apiserver) == before


def test_it_is_taken_over_when_that_is_said(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    by_kn(apiserver)
    done = outcomes(deploy(cluster, plain_app(), adopt=True))
    assert done[ADOPTED] == {"Service/flowers"}
    (container,) = apiserver.get(SERVICE, "flowers", namespace="cams")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == plain_app().function.image
    assert outcomes(deploy(cluster, plain_app())).keys() == {UNCHANGED}


def test_what_another_app_has_is_not_taken_from_it(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, full_app(), full_settings())
    app = plain_app(name="flowers-alarm")  # its first trigger has the name of a trigger of `flowers`
    app = replace(app, triggers=(replace(app.triggers[0], name="flowers-alarm", function="flowers-alarm"),))
    owner = replace(OWNER, app="flowers-alarm")
    with pytest.raises(ConflictError, match=r"flowers-alarm exists already .*: it belongs to the app flowers of"):
        deploy(cluster, app, full_settings(), owner=owner)


def test_a_broker_that_others_made_is_theirs(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}, "spec": {}}
    apiserver.put(broker, namespace="cams")
    with pytest.raises(ConflictError, match="Broker default exists already and does not belong to this app") as raised:
        deploy(cluster, plain_app(), KnativeSettings(broker="default"))
    assert "knative.create_broker: no" in str(raised.value.hint)
    done = outcomes(deploy(cluster, plain_app(), KnativeSettings(broker="default", create_broker=False)))
    assert done.keys() == {CREATED}
    remove_app(cluster, OWNER)
    assert apiserver.get(BROKER, "default", namespace="cams"), "it stays when its last trigger goes"


def test_a_namespace_for_agents_that_an_administrator_made_is_used_as_it_is(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    apiserver.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS, "labels": labels}})
    apiserver.denied = {("patch", "namespaces")}
    done = outcomes(deploy(cluster, full_app(), full_settings()))
    assert done[UNCHANGED] == {f"Namespace/{AGENTS}"}
    apiserver.denied = {("patch", "namespaces"), ("get", "namespaces")}
    assert outcomes(deploy(cluster, full_app(), full_settings())).keys() == {UNCHANGED}


def test_a_namespace_that_doesnt_let_agents_read_folders_isnt_changed_behind_its_owners_back(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS}})
    with pytest.raises(
        ConflictError, match=f"Namespace {AGENTS} exists already and does not belong to this app"
    ) as raised:
        deploy(cluster, full_app(), full_settings())
    assert f"kubectl label namespace {AGENTS} pod-security.kubernetes.io/enforce=privileged" in str(raised.value.hint)


def test_a_field_that_somebody_set_since_stops_the_deploy_there(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster, plain_app())
    trigger = apiserver.get(TRIGGER, "flowers", namespace="cams")
    trigger["spec"]["delivery"]["retry"] = 1
    apiserver.put(trigger, manager="kubectl-edit", namespace="cams")
    with pytest.raises(
        ConflictError, match="other owners have set fields of Trigger flowers: kubectl-edit owns"
    ) as raised:
        deploy(cluster, plain_app())
    assert raised.value.causes == (("kubectl-edit", ".spec.delivery.retry"),)
    done = outcomes(deploy(cluster, plain_app(), adopt=True))
    assert done[ADOPTED] == {"Trigger/flowers"}
    assert apiserver.get(TRIGGER, "flowers", namespace="cams")["spec"]["delivery"]["retry"] == 6
