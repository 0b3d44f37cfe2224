"""A deploy that changes an agent's sink, while Knative's controller still sees the agent as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knative.client.cluster import Cluster
from knative.specs import ClusterApp, ClusterRelay
from tests.cluster.apps import full_settings, relayed_app
from tests.cluster.deploys import HOME, deploy
from tests.fakes.controllers.knative import Knative
from tests.fakes.controllers.sink_bindings import SINK, LateSinkBindings
from tests.fakes.kubernetes.apiserver import FakeCluster

AGENT = "flowers-inbox"
LOCAL = relayed_app(images="all")
CLOUD = replace(LOCAL, through="cloud", sources=tuple(replace(source, through="function") for source in LOCAL.sources))
BARE = replace(LOCAL, relay=ClusterRelay())
BROKER, RELAY = "http://broker.eaves/", "http://service.flowers-relay/"


def variables(server: FakeCluster) -> dict[str, str]:
    """Return the agent's environment variables, sorted by name."""
    made = server.get("apps/v1/StatefulSet", AGENT, namespace=HOME)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize(
    ("first", "second", "sink"),
    [(BARE, LOCAL, RELAY), (LOCAL, BARE, BROKER), (LOCAL, CLOUD, BROKER), (CLOUD, LOCAL, RELAY)],
    ids=["a relay comes", "a relay goes", "into the cloud", "out of the cloud"],
)
def test_a_new_sink_is_written_into_no_other_variable(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster, first: ClusterApp, second: ClusterApp, sink: str
) -> None:
    controller = LateSinkBindings(apiserver, HOME)
    deploy(cluster, second, full_settings())
    rendered = variables(apiserver)
    deploy(cluster, first, full_settings())
    controller.look()
    controller.bind()
    controller.look()
    deploy(cluster, second, full_settings())
    controller.bind()
    found = variables(apiserver)
    assert found[SINK] == sink
    assert {name: found[name] for name in rendered} == rendered
