"""The inventory of an app is written whole, never over another app's, and a damaged one is reported."""

from dataclasses import replace

import pytest

from eaves.errors import ConflictError, InvalidError
from knative.client.cluster import Cluster
from knative.inventory import (
    DATA_KEY,
    DeploymentRecord,
    Inventory,
    ObjectKey,
    inventory_name,
    read_inventory,
    write_inventory,
)
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request

NAME = inventory_name("flowers")
ITEMS = {ObjectKey("DaemonSet", "cams", "flowers-pin"): "u-1"}
DEPLOYMENT = DeploymentRecord(
    sequence=3, at=1764126000.0, by="ann@barn", site="barn", image="r/f@sha256:1", artifact="ab", declared="r/f:1"
)


def test_what_is_written_is_read(cluster: Cluster, apiserver: FakeCluster):
    assert read_inventory(cluster, "flowers") == Inventory(app="flowers")
    written = write_inventory(cluster, Inventory(app="flowers", items=ITEMS, deployment=DEPLOYMENT))
    assert written.version
    assert read_inventory(cluster, "flowers") == written
    found = apiserver.get("ConfigMap", NAME, namespace="cams")
    assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "inventory"
    again = write_inventory(cluster, replace(written, items={}))
    assert read_inventory(cluster, "flowers") == again != written


def test_of_two_first_deploys_one_gets_a_conflict(cluster: Cluster, apiserver: FakeCluster):
    """The other writes between the read and the write of the one, and between its two requests."""
    won = write_inventory(cluster, Inventory(app="flowers", deployment=DEPLOYMENT))
    with pytest.raises(ConflictError):
        write_inventory(cluster, Inventory(app="flowers", items=ITEMS))
    assert read_inventory(cluster, "flowers") == won
    other: list[Inventory] = []

    def fault(request: Request) -> Reply | None:
        if request.method == "PATCH" and "resourceVersion" in request.json["metadata"] and not other:
            other.append(Inventory(app="roses"))
            other[0] = write_inventory(cluster, Inventory(app="roses", items=ITEMS))
        return None

    apiserver.fault = fault
    with pytest.raises(ConflictError):
        write_inventory(cluster, Inventory(app="roses"))
    assert read_inventory(cluster, "roses") == other[0]


def test_a_damaged_one_is_refused_with_a_remedy(cluster: Cluster, apiserver: FakeCluster):
    for text, said in (
        ("{", "damaged"),
        ('{"items": [{"kind": "DaemonSet"}], "deployment": null}', "damaged: .*namespace"),
    ):
        write_inventory(cluster, read_inventory(cluster, "roses"))
        found = apiserver.get("ConfigMap", inventory_name("roses"), namespace="cams")
        del found["metadata"]["resourceVersion"]
        apiserver.put({**found, "data": {DATA_KEY: text}}, namespace="cams")
        with pytest.raises(InvalidError, match=said) as caught:
            read_inventory(cluster, "roses")
        assert caught.value.hint
        apiserver.remove("ConfigMap", inventory_name("roses"), namespace="cams")


def test_the_record_of_a_newer_eaves_is_read_by_its_known_fields(cluster: Cluster, apiserver: FakeCluster):
    """A site's console, or the CronJob that reconciles it, may be older than the command that deployed."""
    write_inventory(cluster, Inventory(app="flowers", items=ITEMS, deployment=DEPLOYMENT))
    found = apiserver.get("ConfigMap", NAME, namespace="cams")
    del found["metadata"]["resourceVersion"]
    text = found["data"][DATA_KEY].replace('"by":', '"tomorrow": 1, "by":')
    apiserver.put({**found, "data": {DATA_KEY: text}}, namespace="cams")
    assert read_inventory(cluster, "flowers").deployment == DEPLOYMENT


def test_a_config_map_of_somebody_else_is_neither_read_nor_written(cluster: Cluster, apiserver: FakeCluster):
    apiserver.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"x": "1"}}, namespace="cams"
    )
    with pytest.raises(ConflictError, match="are not those of an inventory"):
        read_inventory(cluster, "flowers")
    with pytest.raises(ConflictError):
        write_inventory(cluster, Inventory(app="flowers", items=ITEMS))
    assert apiserver.get("ConfigMap", NAME, namespace="cams")["data"] == {"x": "1"}
