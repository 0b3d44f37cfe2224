"""A deploy is ready when each part of the app is, and `eaves status` has a line for each part that isn't."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from eaves.admin.report import from_json, to_json
from eaves.errors import StartError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.platform import FunctionStatus
from eaves.spool import Spool
from knative.client.cluster import Cluster
from knative.deploy.apply import apply_app
from knative.deploy.site_update import SiteDeployment, SiteUpdate, update_site
from knative.inventory import ObjectKey, read_inventory, write_inventory
from knative.platform import KnativePlatform
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings
from knative.status.readiness import Rows, wait_ready
from knative.status.traffic import parse_rollout_status
from tests.cluster.apps import NAME, at_site, full_app, full_settings, plain_app
from tests.cluster.deploys import HOME, OWNER, SITE
from tests.cluster.sites import IMAGE, open_sites
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.fakes.kubernetes.cluster import Reply
from tests.inputs.inspections import CAMERA, DARK, settle, window
from tests.integration.knative.status.test_parts import put_pod
from tests.waiting import wait_until

BROKER = "eventing.knative.dev/v1/Broker"
ALARM = ("SubscriberResolved", "False", "NotFound", 'services "counter" not found')


def open_platform(cluster: Cluster) -> KnativePlatform:
    return KnativePlatform(cluster, full_settings(), SITE)


def left(platform: KnativePlatform) -> dict[str, tuple[str, str]]:
    """Each part that isn't ready, with its state and cause."""
    (status,) = platform.status()
    return {part.title: (part.state, part.cause) for part in status.parts if part.state != "ready"}


def test_a_part_that_its_controller_is_still_at_degrades_nothing(cluster: Cluster, knative: Knative):
    knative.held = {"Trigger"}
    platform = open_platform(cluster)
    platform.deploy(at_site(plain_app(), site=SITE))
    assert left(platform) == {"Trigger flowers": ("starting", "")}
    assert platform.status()[0].state == "idle"
    knative.server.skew_s += 60
    assert left(platform) == {"Trigger flowers": ("failed", "controller")}


def test_what_the_inventory_lists_and_is_not_there_is_missing(cluster: Cluster, knative: Knative):
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


def test_what_serves_and_what_is_pinned(cluster: Cluster, knative: Knative):
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
):
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


def test_the_table_has_a_line_for_each_part_that_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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


def test_a_line_tells_that_scores_have_shifted_and_since_when(tmp_path: Path):
    with open_sites(tmp_path, 1) as sites, Spool(tmp_path / "spool") as spool:
        assert sites.run("deploy", IMAGE, "--offline", "--on", "knative").exit_code == 0
        sites.knative["s000"].start_agent("agent-0", spool)
        settle(spool, *window(DARK))
        shown = " ".join(sites.run("status", "--on", "knative").stdout.split())
        assert re.search(r"images of camera no longer score as .* \(shifted for \d+ s\)", shown), shown
        (row,) = json.loads(sites.run("status", "--on", "knative", "-o", "json").stdout)
        assert [one["source"] for agent in row["agents"] for one in agent["shifts"]] == [CAMERA]


def test_usage_adds_up_what_replicas_and_agents_use_and_counts_each_answer_once(tmp_path: Path):
    with open_sites(tmp_path, 1) as sites, Spool(tmp_path / "spool") as spool:
        assert sites.run("deploy", IMAGE, "--offline", "--on", "knative").exit_code == 0
        knative = sites.knative["s000"]
        pod = knative.run("flowers-00001")
        pod.usage = {"process_cpu_seconds_total": 1000.5, "process_resident_memory_bytes": 2_000_000_000}
        pod.serve(answered=3, failed=1)
        pod.metrics.count("eaves_requests_total", kind="predict", status="200", problem="", counted="sender")
        pod.metrics.count("eaves_requests_total", kind="other", status="200", problem="")
        knative.start_agent("agent-0", spool)
        spool.put(Event(id="1", source="/eaves/barn/gate", type=IMAGE_CAPTURED, data=b"x"), lanes=("out",))
        spool.ack(spool.peek("out")[0], outcome=("flowers-00001", "answered"))
        run = partial(sites.run, "status", "--usage", "--on", "knative")
        (row,) = json.loads(run("-o", "json").stdout)
        assert (row["delivered"], row["is_usage_known"]) == (4, True)
        assert row["usage"] == {"cpu_s": 1000.5, "memory_bytes": 2_000_000_000}
        assert row["total_usage"]["memory_bytes"] > 2_000_000_000
        shown = run().stdout
        assert shown.split()[:6] == ["SITE", "FUNCTION", "ANSWERED", "REPLICAS", "CPU", "MEMORY"]
        assert "at least" not in shown
        pod.answer = Reply(status=500)
        assert "at least" in run().stdout, "its figures are not estimated"


STATEFUL_SET, TRIGGER = "apps/v1/StatefulSet", "eventing.knative.dev/v1/Trigger"


def update(
    cluster: Cluster, app: ClusterApp, settings: KnativeSettings | None = None, *, ready_s: float = 0.6
) -> SiteUpdate:
    """What `eaves deploy` does at one site."""
    wanted = SiteDeployment(app=at_site(app, settings or full_settings(), SITE), ready_s=ready_s)
    return update_site(cluster, wanted)


def fail(
    cluster: Cluster, app: ClusterApp, settings: KnativeSettings | None = None, *, ready_s: float = 0.6
) -> StartError:
    with pytest.raises(StartError) as caught:
        update(cluster, app, settings, ready_s=ready_s)
    return caught.value


def test_a_stale_condition_of_a_trigger_is_waited_for_until_the_deadline(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    """Under load Knative looks at a Trigger again minutes after its function has an address."""
    text = "address not set for Kind = Service, Namespace = cams, Name = flowers"
    knative.broken["Trigger", "flowers"] = ("SubscriberResolved", "False", "Unable to get the URI", text)
    manifests = render_app(at_site(plain_app(), KnativeSettings(), SITE))
    apply_app(cluster, manifests, OWNER)
    apiserver.skew_s += 60  # the change of an object that its controller hasn't seen counts as a fault now
    waited: list[Rows] = []
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            wait_ready, cluster, NAME, manifests, timeout_s=30, poll_s=0.1, max_fault_s=0.3,
            show=waited.append,
        )  # fmt: skip
        wait_until(lambda: waiting.done() or len(waited) > 10, 10, what="more than the patience")
        assert not waiting.done(), waiting.exception()
        trigger = apiserver.get(TRIGGER, "flowers", namespace=HOME)
        ready = {
            "observedGeneration": trigger["metadata"]["generation"],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        apiserver.status(TRIGGER, "flowers", ready, namespace=HOME)
        waiting.result(20)


def test_an_agent_in_a_crash_loop(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    knative.counts["StatefulSet", "flowers-inbox"] = {"replicas": 1, "readyReplicas": 0}
    update(cluster, full_app(), ready_s=0)
    put_pod(apiserver, "CrashLoopBackOff")
    line = "error: eaves.yaml: sources.inbox.path: is not a folder"
    apiserver.write_log("flowers-inbox-0", line, container="agent:previous", namespace=HOME)
    error = fail(cluster, full_app(), ready_s=60)
    assert error.message.startswith(
        "parts of flowers can't become ready: StatefulSet flowers-inbox: the process ended with exit code 1"
    )
    assert "sources.inbox.path: is not a folder" in error.message
    assert error.hint == "eaves logs flowers.inbox --on knative"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("StatefulSet", "flowers-gate-mqtt"), ("Broker", "eaves")],
)
def test_each_other_part_is_waited_for(kind: str, name: str, cluster: Cluster, knative: Knative):
    knative.held = {kind}
    assert f"{kind} {name}: " in fail(cluster, full_app()).message


def test_a_new_revision_gets_no_requests_before_the_whole_app_is_ready(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    update(cluster, plain_app(), ready_s=10)
    trigger = apiserver.get(TRIGGER, "flowers", namespace=HOME)
    lost = {"type": "Ready", "status": "False", "message": "the subscription has gone"}
    apiserver.status(TRIGGER, "flowers", {**trigger["status"], "conditions": [lost]}, namespace=HOME)
    fail(cluster, plain_app(image="registry.example/barn/flowers@sha256:" + "d" * 64))
    assert parse_rollout_status(knative.service()).shares == {"flowers-00001": 100}
