"""An app applied to a cluster: once, again, changed, and by somebody who is killed on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.errors import ClusterError
from knative.client.cluster import Cluster
from knative.deploy.ownership import CHANGED, CREATED, REMOVED, UNCHANGED, UNJUDGED, ApplyResult
from knative.specs import ClusterRelay
from tests.cluster.apps import full_app, full_settings, plain_app, relayed_app
from tests.cluster.deploys import AGENTS, Killed, deploy, kill_after, objects, outcomes, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster


def test_a_first_deploy_makes_every_object(cluster: Cluster, knative: Knative) -> None:
    done = deploy(cluster, full_app(), full_settings())
    assert {one.outcome for one in done} == {CREATED}
    assert len(done) == len(render(full_app(), full_settings()))
    assert set(objects(knative.server)) == {
        f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}"
        for one in render(full_app(), full_settings())
        if one["kind"] not in {"Namespace", "Broker"}
    }


def test_the_same_deploy_again_changes_nothing(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, full_app(), full_settings())
    version = knative.server.objects.version
    done = deploy(cluster, full_app(), full_settings())
    assert outcomes(done).keys() == {UNCHANGED}
    assert knative.server.objects.version == version
    assert len(knative.service()["metadata"]["managedFields"]) == 2, "ours, and the status' own"


def test_only_what_differs_is_changed(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, plain_app())
    done = outcomes(deploy(cluster, plain_app(concurrency=3)))
    assert done[CHANGED] == {"Service/flowers"}
    assert len(done[UNCHANGED]) == len(render(plain_app())) - 1


def test_what_eaves_yaml_no_longer_has_goes(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, full_app(), full_settings())
    app = full_app()
    fewer = replace(app, triggers=app.triggers[:1], sources=app.sources[:1])
    done = outcomes(deploy(cluster, fewer, full_settings()))
    assert done[REMOVED] == {
        "Trigger/flowers-alarm",
        "Trigger/flowers-gate",
        "NetworkPolicy/flowers-gate-mqtt",
        "Service/flowers-gate-mqtt",
        "StatefulSet/flowers-gate-mqtt",
        "EventType/flowers-camera-captured",
        "EventType/flowers-archive-captured",
        "ContainerSource/flowers-archive",
        "NetworkPolicy/flowers-archive",
        "NetworkPolicy/flowers-cams-camera",
        "SinkBinding/flowers-cams-camera",
        "DaemonSet/flowers-cams-camera",
        "ServiceAccount/flowers-cams",
    }
    assert not [place for place in objects(knative.server) if place.startswith(AGENTS)]
    assert knative.server.get("Namespace", AGENTS), "other apps may be in it"
    assert outcomes(deploy(cluster, fewer, full_settings())).keys() == {UNCHANGED}


def test_a_relay_comes_before_the_agents_that_send_to_it_and_goes_after_they_send_elsewhere(
    cluster: Cluster, knative: Knative
) -> None:
    app = relayed_app()
    bare = replace(app, relay=ClusterRelay())
    deploy(cluster, bare, full_settings())
    reported = order(deploy(cluster, app, full_settings()))
    assert reported.index("created StatefulSet/flowers-relay") < reported.index("changed SinkBinding/flowers-inbox")
    assert not [one for one in reported if one.startswith("removed")], "queues stay where they are"
    reported = order(deploy(cluster, bare, full_settings()))
    assert reported.index("changed SinkBinding/flowers-inbox") < reported.index("removed StatefulSet/flowers-relay")
    assert {one for one in reported if one.startswith("removed")} == {
        "removed Trigger/flowers-relay",
        "removed Trigger/flowers-relay-images",
        "removed SinkBinding/flowers-relay",
        "removed StatefulSet/flowers-relay",
        "removed Service/flowers-relay",
        "removed NetworkPolicy/flowers-relay",
    }
    assert outcomes(deploy(cluster, bare, full_settings())).keys() == {UNCHANGED}


def order(done: list[ApplyResult]) -> list[str]:
    """Outcomes as they came."""
    return [f"{one.outcome} {one.kind}/{one.name}" for one in done]


def test_a_command_killed_between_two_objects_continues_the_next_time(cluster: Cluster, knative: Knative) -> None:
    with pytest.raises(Killed):
        deploy(cluster, full_app(), full_settings(), check=kill_after(7))
    done = outcomes(deploy(cluster, full_app(), full_settings()))
    assert len(done[UNCHANGED]) == 7
    assert len(done[CREATED]) == len(render(full_app(), full_settings())) - 7
    assert outcomes(deploy(cluster, full_app(), full_settings())).keys() == {UNCHANGED}


def test_whatever_sink_an_agent_has_its_variables_are_the_same_in_number_and_order() -> None:
    """Knative's controller appends the sink, and later changes it by its place in an older copy of the list."""
    local = relayed_app(images="all")
    sources = tuple(replace(source, through="function") for source in local.sources)
    apps = (local, replace(local, relay=ClusterRelay()), replace(local, through="cloud", sources=sources))
    named = [
        [one["name"] for one in made["spec"]["template"]["spec"]["containers"][0]["env"]]
        for made in (one for app in apps for one in render(app, full_settings()))
        if (made["kind"], made["metadata"]["name"]) == ("StatefulSet", "flowers-inbox")
    ]
    assert len(named) == 3
    assert all(names == named[0] for names in named)


def test_a_dry_run_asks_the_server_and_changes_nothing(cluster: Cluster, knative: Knative) -> None:
    version = knative.server.objects.version
    done = outcomes(deploy(cluster, full_app(), full_settings(), dry_run=True))
    assert done.keys() == {CREATED, UNJUDGED}
    assert done[UNJUDGED] == {
        "ServiceAccount/flowers-cams",
        "NetworkPolicy/flowers-cams-camera",
        "SinkBinding/flowers-cams-camera",
        "DaemonSet/flowers-cams-camera",
    }, "their namespace is one that a dry run doesn't make"
    deploy(cluster, full_app(), full_settings())
    made, version = objects(knative.server), knative.server.objects.version
    done = outcomes(deploy(cluster, plain_app(concurrency=2), full_settings(), dry_run=True))
    assert "Service/flowers" in done[CHANGED]
    assert "Trigger/flowers-alarm" in done[REMOVED]
    assert (objects(knative.server), knative.server.objects.version) == (made, version)


def test_a_cluster_without_eventing_says_what_it_has_not(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.unserved = {"eventing.knative.dev/v1", "eventing.knative.dev/v1beta3", "sources.knative.dev/v1"}
    with pytest.raises(ClusterError, match=r"does not have brokers\.eventing\.knative\.dev") as raised:
        deploy(cluster, plain_app())
    assert "kubectl --context edge api-resources --api-group=eventing.knative.dev" in str(raised.value.hint)
