"""`eaves status` at a site: a line for each function and for each part that isn't ready; JSON has every part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.admin.report import from_json, to_json
from eaves.platform import FunctionStatus
from knative.client.cluster import Cluster
from knative.inventory import ObjectKey, read_inventory, write_inventory
from knative.platform import KnativePlatform
from tests.cluster.apps import at_site, full_app, full_settings, plain_app
from tests.cluster.deploys import HOME, SITE
from tests.cluster.sites import IMAGE, open_sites
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster

BROKER = "eventing.knative.dev/v1/Broker"
ALARM = ("SubscriberResolved", "False", "NotFound", 'services "counter" not found')


def open_platform(cluster: Cluster) -> KnativePlatform:
    return KnativePlatform(cluster, full_settings(), SITE)


def left(platform: KnativePlatform) -> dict[str, tuple[str, str]]:
    """Each part that isn't ready, with its state and cause."""
    (status,) = platform.status()
    return {part.title: (part.state, part.cause) for part in status.parts if part.state != "ready"}


def test_a_part_that_its_controller_is_still_at_degrades_nothing(cluster: Cluster, knative: Knative) -> None:
    knative.held = {"Trigger"}
    platform = open_platform(cluster)
    platform.deploy(at_site(plain_app(), site=SITE))
    assert left(platform) == {"Trigger flowers": ("starting", "")}
    assert platform.status()[0].state == "idle"
    knative.server.skew_s += 60
    assert left(platform) == {"Trigger flowers": ("failed", "controller")}


def test_what_the_inventory_lists_and_is_not_there_is_missing(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    platform = open_platform(cluster)
    platform.deploy(at_site(plain_app(), site=SITE))
    item = {ObjectKey("Trigger", HOME, "flowers-alarm"): "u-1"}
    inventory = read_inventory(cluster, "flowers")
    write_inventory(cluster, replace(inventory, items=inventory.items | item))
    assert left(platform) == {"Trigger flowers-alarm": ("missing", "missing")}
    (status,) = platform.status()
    assert status.deployed is not None
    assert (status.deployed.sequence, status.deployed.artifact_digest) == (1, "a" * 64)
    assert from_json(FunctionStatus, to_json(status)) == status, "it comes back from plain data as it was"


def test_what_serves_and_what_is_pinned(cluster: Cluster, knative: Knative) -> None:
    knative.nodes = 3
    platform = open_platform(cluster)
    platform.deploy(at_site(plain_app(), site=SITE))
    platform.promote("flowers")
    other = "registry.example/barn/flowers@sha256:" + "d" * 64
    platform.deploy(at_site(plain_app(image=other), site=SITE))
    (status,) = platform.status()
    (served,) = status.serving
    assert (served.revision, served.percent) == ("flowers-00001", 100)
    assert served.image.endswith("b" * 64)
    assert status.artifact == other
    assert (other, 3, 3) in [(one.image, one.ready, one.wanted) for one in status.pinned]


def test_what_may_not_be_listed_is_reported_and_the_rest_is_shown(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    platform = open_platform(cluster)
    platform.deploy(at_site(full_app(), site=SITE))
    kinds = ("triggers.eventing.knative.dev", "sinkbindings.sources.knative.dev")
    apiserver.denied = {("list", kind) for kind in kinds} | {("get", "configmaps")}
    apiserver.denied |= {("list", "revisions.serving.knative.dev")}
    assert left(platform) == {
        "Trigger *": ("unknown", ""),
        "SinkBinding *": ("unknown", ""),
        "ConfigMap *": ("unknown", ""),
    }
    assert platform.status()[0].state == "idle"
    apiserver.denied -= {("get", "configmaps")}
    assert set(left(platform)) == {"Trigger *", "SinkBinding *"}, "what the inventory lists of them isn't missing"


def test_the_table_has_a_line_for_each_part_that_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_sites(tmp_path, 1) as sites:
        sites.knative["s000"].broken["Trigger", "flowers"] = ALARM
        assert sites.run("deploy", IMAGE, "--offline", "--on", "knative", "--detach").exit_code == 0
        result = sites.run("status", "--on", "knative")
        words = [line.split() for line in result.stdout.splitlines() if line.strip()]
        (function,) = [line for line in words if line[:3] == ["s000", "flowers", "degraded"]]
        assert " ago by " in " ".join(function)
        assert "bbbbbbbb 1/1" in " ".join(function)
        (part,) = [line for line in words if line[:5] == ["s000", "flowers", "Trigger", "flowers", "failed"]]
        assert "destination" in part
        assert "EventType" not in result.stdout, "what is ready has no line"
        assert "try: deploy the object that it names" in result.stderr
        (row,) = json.loads(sites.run("status", "--on", "knative", "-o", "json").stdout)
        assert {one["kind"] for one in row["parts"]} >= {"Trigger", "Broker", "EventType"}
