"""The Platform on one namespace of a simulated cluster: deploy, promote, rollback, remove, and how it says it is."""

import pytest

from eaves.errors import NotFoundError, StartError
from eaves.platform import FunctionStatus
from knative.client.cluster import Cluster
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import at_site, full_app, full_settings, plain_app
from tests.cluster.deploys import SITE
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal

FIRST, SECOND = "flowers-00001", "flowers-00002"
OTHER = "registry.example/barn/flowers@sha256:" + "d" * 64


@pytest.fixture
def platform(cluster: Cluster, knative: Knative) -> KnativePlatform:
    return KnativePlatform(cluster, KnativeSettings(), SITE, ready_timeout_s=10)


def only(platform: KnativePlatform) -> FunctionStatus:
    (status,) = platform.status()
    return status


def test_promote_waits_for_what_isnt_ready_and_changes_nothing_when_it_never_is(
    platform: KnativePlatform, knative: Knative
):
    platform.deploy(at_site(plain_app(), site=SITE))
    platform.promote("flowers")
    knative.auto = False
    platform.deploy(at_site(plain_app(image=OTHER), site=SITE))
    impatient = KnativePlatform(platform.cluster, KnativeSettings(), SITE, ready_timeout_s=0.3)
    with pytest.raises(StartError, match=r"flowers was not ready within 0.3 s"):
        impatient.promote("flowers")
    assert only(platform).traffic == (f"{FIRST} 100 %",)
    knative.ready(SECOND)
    platform.promote("flowers")
    assert only(platform).traffic == (f"{SECOND} 100 %",)


def test_a_function_is_at_first_starting_then_idle_then_ready(platform: KnativePlatform, knative: Knative):
    knative.auto = False
    platform.deploy(at_site(plain_app(), site=SITE))
    assert (only(platform).state, only(platform).reason) == ("starting", "")
    knative.ready(FIRST)
    assert (only(platform).state, only(platform).replicas) == ("idle", 0)
    knative.run(FIRST, "a")
    knative.run(FIRST, "b")
    status = only(platform)
    assert (status.state, status.replicas, status.site) == ("ready", 2, "barn")
    assert (status.name, status.artifact_digest) == ("flowers", "a" * 64)
    for pod in ("a", "b"):
        knative.end(pod)
    assert only(platform).state == "idle"


def test_a_second_revision_that_fails_leaves_the_first_one_serving_and_says_why(
    platform: KnativePlatform, knative: Knative
):
    platform.deploy(at_site(plain_app(), site=SITE))
    platform.promote("flowers")
    knative.auto = False
    platform.deploy(at_site(plain_app(image=OTHER), site=SITE))
    knative.ready(SECOND, False, message="golden image 3 differs")
    status = only(platform)
    assert (status.state, status.traffic) == ("idle", (f"{FIRST} 100 %",))
    assert "golden image 3 differs" in status.reason


def test_sources_are_reported_with_their_state(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    platform = KnativePlatform(cluster, full_settings(), SITE)
    knative.nodes = 3
    platform.deploy(at_site(full_app(), site=SITE))
    parts = [part for part in only(platform).parts if part.component == "source" and part.kind != "SinkBinding"]
    assert {(part.kind, part.state, part.pods) for part in parts} == {
        ("StatefulSet", "ready", "1/1"),
        ("DaemonSet", "ready", "3/3"),
    }
    metadata = {"name": "flowers-cams-camera", "namespace": "eaves-agents"}
    few = {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 2}
    apiserver.status("DaemonSet", metadata["name"], few, namespace=metadata["namespace"])
    assert ("DaemonSet", "2/3") in {(part.kind, part.pods) for part in only(platform).parts if part.state == "starting"}
    apiserver.denied = {("list", "daemonsets.apps")}
    (hidden,) = [part for part in only(platform).parts if part.state == "unknown"]
    assert (hidden.kind, hidden.name) == ("DaemonSet", "*")
    assert "may not list daemonsets" in hidden.reason


def test_logs_of_agents_are_read_by_name(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
    platform = KnativePlatform(cluster, full_settings(), SITE)
    platform.deploy(at_site(full_app(), site=SITE))
    homes = {"flowers-inbox": ("StatefulSet", "cams"), "flowers-cams-camera": ("DaemonSet", "eaves-agents")}
    for name, (kind, namespace) in homes.items():
        template = apiserver.get(f"apps/v1/{kind}", name, namespace=namespace)["spec"]["template"]
        metadata = {"name": f"{name}-0", "namespace": namespace, "labels": template["metadata"]["labels"]}
        apiserver.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    apiserver.write_log("flowers-inbox-0", "captured a.png", container="agent", namespace="cams")
    apiserver.write_log("flowers-cams-camera-0", "died", container="agent:previous", namespace="eaves-agents")
    assert platform.logs("flowers.inbox") == ["captured a.png"]
    assert platform.logs("flowers.camera") == ["died"], "of the run before, as this one has written nothing"
    assert platform.logs("flowers.agent") == ["died", "captured a.png"]
    with pytest.raises(
        NotFoundError, match=r"flowers\.gate has no pod in .*agents with pods: flowers\.camera, flowers\.inbox"
    ):
        platform.logs("flowers.gate")


def test_a_replica_that_hasnt_started_keeps_nobody_from_reading_the_others(
    platform: KnativePlatform, knative: Knative, apiserver: FakeCluster
):
    platform.deploy(at_site(plain_app(), site=SITE))
    knative.run(FIRST, "a", "one")
    knative.run(FIRST, "b")
    said = 'container "function" in pod "b" is waiting to start: ContainerCreating'

    def fault(request: Request) -> Reply | None:
        return refusal(400, "BadRequest", said) if request.path.endswith("/pods/b/log") else None

    apiserver.fault = fault
    assert platform.logs("flowers") == ["one"]
    knative.end("a")
    with pytest.raises(NotFoundError, match=r"no pod has started: .*ContainerCreating"):
        platform.logs("flowers")
