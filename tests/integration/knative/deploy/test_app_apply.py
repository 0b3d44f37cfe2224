"""An app applied to a cluster: once, again, changed, and by somebody who is killed on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.errors import ClusterError
from knative.client.cluster import Cluster
from knative.deploy.ownership import CHANGED, CREATED, REMOVED, UNCHANGED, UNJUDGED, ApplyResult
from knative.resources.fields.labels import MANAGER
from knative.specs import ClusterRelay, ClusterSource
from tests.cluster.apps import full_app, full_settings, plain_app, relayed_app
from tests.cluster.deploys import AGENTS, deploy, objects, outcomes, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster


def test_a_first_deploy_makes_every_object(cluster: Cluster, knative: Knative) -> None:
    done = deploy(cluster, full_app(), full_settings())
    assert {one.outcome for one in done} == {CREATED}
    assert len(done) == len(render(full_app(), full_settings()))
    assert set(objects(knative.server)) == {
        f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}"
        for one in render(full_app(), full_settings())
        if one["kind"] != "Namespace"
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


def test_each_outcome_is_reported_as_it_comes(cluster: Cluster, knative: Knative) -> None:
    reported: list[ApplyResult] = []
    assert deploy(cluster, plain_app(), show=reported.append) == reported


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


@pytest.mark.parametrize("after", [0, 6, 15])
def test_a_command_killed_between_two_objects_continues_the_next_time(
    after: int, cluster: Cluster, knative: Knative
) -> None:
    class Killed(BaseException):
        pass

    def kill(applied: ApplyResult) -> None:
        count.append(applied)
        if len(count) > after:
            raise Killed

    count: list[ApplyResult] = []
    with pytest.raises(Killed):
        deploy(cluster, full_app(), full_settings(), show=kill)
    done = outcomes(deploy(cluster, full_app(), full_settings()))
    assert len(done[UNCHANGED]) == after + 1
    assert len(done.get(CREATED, ())) == len(render(full_app(), full_settings())) - after - 1
    assert outcomes(deploy(cluster, full_app(), full_settings())).keys() == {UNCHANGED}


def test_a_command_killed_before_everything_old_is_gone_continues_the_next_time(
    cluster: Cluster, knative: Knative
) -> None:
    class Killed(BaseException):
        pass

    def kill(applied: ApplyResult) -> None:
        if applied.outcome == REMOVED:
            raise Killed

    deploy(cluster, full_app(), full_settings())
    for _ in range(30):
        try:
            deploy(cluster, plain_app(), full_settings(), show=kill)
        except Killed:
            continue
        break
    left = {f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}" for one in render(plain_app())}
    assert set(objects(knative.server)) == left


def test_a_dry_run_asks_the_server_and_changes_nothing(cluster: Cluster, knative: Knative) -> None:
    version = knative.server.objects.version
    done = outcomes(deploy(cluster, full_app(), full_settings(), dry_run=True))
    assert done.keys() == {CREATED, UNJUDGED}
    assert done[UNJUDGED] == {
        "ServiceAccount/flowers-cams",
        "SinkBinding/flowers-cams-camera",
        "DaemonSet/flowers-cams-camera",
    }, "their namespace is one that a dry run doesn't make"
    deploy(cluster, full_app(), full_settings())
    made, version = objects(knative.server), knative.server.objects.version
    done = outcomes(deploy(cluster, plain_app(concurrency=2), full_settings(), dry_run=True))
    assert "Service/flowers" in done[CHANGED]
    assert "Trigger/flowers-alarm" in done[REMOVED]
    assert (objects(knative.server), knative.server.objects.version) == (made, version)


def test_what_trains_an_app_is_left_alone_by_its_deploys(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, plain_app())
    for part, kind in zip(("training", "pipeline"), ("JobSink", "SinkBinding"), strict=True):
        api_version = {"JobSink": "sinks.knative.dev/v1alpha1", "SinkBinding": "sources.knative.dev/v1"}[kind]
        labels = {"eaves.dev/app": "flowers", "app.kubernetes.io/component": part}
        metadata = {"name": "flowers-dataset", "labels": labels}
        cluster.apply({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {}}, manager=MANAGER)
    assert outcomes(deploy(cluster, plain_app())).keys() == {UNCHANGED}


def test_two_sources_on_nodes_share_an_account(cluster: Cluster, knative: Knative) -> None:
    app, camera = full_app(), full_app().sources[1]
    both = replace(app, sources=(camera, replace(camera, name="second")))
    done = outcomes(deploy(cluster, both, full_settings()))
    assert len(done[CREATED]) == len(render(both, full_settings()))


def test_a_cluster_without_eventing_says_what_it_has_not(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.unserved = {"eventing.knative.dev/v1", "eventing.knative.dev/v1beta3", "sources.knative.dev/v1"}
    with pytest.raises(ClusterError, match=r"does not have brokers\.eventing\.knative\.dev") as raised:
        deploy(cluster, plain_app())
    assert "kubectl --context edge api-resources --api-group=eventing.knative.dev" in str(raised.value.hint)


def test_an_agent_beside_a_volume_has_a_name_that_its_pods_can_carry() -> None:
    from eaves.errors import ConfigError

    app = replace(full_app(), sources=(ClusterSource(name="a" * 40, claim="photos"),))
    assert render(app, full_settings())
    long = replace(app, function=replace(app.function, name="f" * 40))
    with pytest.raises(ConfigError, match=r"sources\[0\]\.name: must be at most 11 characters long"):
        render(long, full_settings())
