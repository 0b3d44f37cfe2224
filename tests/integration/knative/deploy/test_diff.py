"""What a deploy would change, as the server itself answers."""

from __future__ import annotations

from dataclasses import replace

from knative.client.cluster import Cluster
from knative.deploy.apply import diff_app
from knative.settings import KnativeSettings
from knative.specs import ClusterApp
from tests.cluster.apps import full_app, full_settings, plain_app
from tests.cluster.deploys import OWNER, deploy, objects, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster


def diff(cluster: Cluster, app: ClusterApp, settings: KnativeSettings | None = None) -> list[str]:
    return list(diff_app(cluster, render(app, settings), OWNER))


def heads(lines: list[str]) -> list[str]:
    return [line.removeprefix("+++ ").removesuffix(" (rendered)") for line in lines if line.startswith("+++ ")]


def test_before_the_first_deploy_everything_is_new(cluster: Cluster, apiserver: FakeCluster) -> None:
    lines = diff(cluster, full_app(), full_settings())
    rendered = render(full_app(), full_settings())
    assert heads(lines) == [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in rendered]
    assert not [line for line in lines if line.startswith("-") and not line.startswith("--- ")]
    assert objects(apiserver) == {}


def test_only_the_lines_that_change_and_what_goes(cluster: Cluster, knative: Knative) -> None:
    deploy(cluster, full_app(), full_settings())
    before, app = objects(knative.server), full_app()
    fewer = replace(app, function=replace(app.function, concurrency=7), triggers=app.triggers[:1])
    lines = diff(cluster, fewer, full_settings())
    assert heads(lines) == [
        "service/flowers",
        *("trigger/flowers-alarm", "trigger/flowers-gate", "statefulset/flowers-gate-mqtt"),
        *("service/flowers-gate-mqtt", "networkpolicy/flowers-gate-mqtt"),
    ]
    assert "+      containerConcurrency: 7" in lines
    assert "-      containerConcurrency: 2" in lines
    assert "-  broker: eaves" in lines
    assert objects(knative.server) == before


def test_what_others_made_is_shown_as_it_would_be_once_taken_over(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    spec = {"template": {"spec": {"containers": [{"image": "registry.example/other:1"}]}}}
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "flowers"}, "spec": spec}
    apiserver.put(service, manager="kn", namespace="cams")
    lines = diff(cluster, plain_app())
    assert "-      - image: registry.example/other:1" in lines
    assert any(line.startswith("+") and plain_app().function.image in line for line in lines)
