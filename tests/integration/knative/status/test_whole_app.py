"""A deploy is ready when each part of the app is: Triggers, the Broker, SinkBindings and agents too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves.errors import StartError
from knative.client.cluster import Cluster
from knative.deploy.apply import apply_app
from knative.deploy.site_update import SiteDeployment, SiteUpdate, update_site
from knative.resources.rendering import render_app
from knative.rollout import parse_rollout_status
from knative.settings import ClusterApp, KnativeSettings
from knative.status.readiness import Rows, wait_ready
from tests.cluster.apps import NAME, at_site, full_app, full_settings, plain_app
from tests.cluster.deploys import HOME, OWNER, SITE
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.integration.knative.status.test_parts import put_pod
from tests.waiting import wait_until

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


def test_a_trigger_whose_subscriber_does_not_resolve(cluster: Cluster, knative: Knative) -> None:
    message = 'services.serving.knative.dev "counter" not found'
    knative.broken["Trigger", "flowers-alarm"] = (
        "SubscriberResolved",
        "False",
        "Unable to get the Subscriber's URI",
        message,
    )
    error = fail(cluster, full_app())
    assert error.message.startswith(
        "flowers was not ready within 0.6 s: Trigger flowers-alarm: its subscriber can't be resolved"
    )
    assert 'services.serving.knative.dev "counter" not found' in error.message


def test_a_stale_condition_of_a_trigger_is_waited_for_until_the_deadline(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
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


def test_an_agent_in_a_crash_loop(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
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
def test_each_other_part_is_waited_for(kind: str, name: str, cluster: Cluster, knative: Knative) -> None:
    knative.held = {kind}
    assert f"{kind} {name}: " in fail(cluster, full_app()).message


def test_a_new_revision_gets_no_requests_before_the_whole_app_is_ready(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    update(cluster, plain_app(), ready_s=10)
    trigger = apiserver.get(TRIGGER, "flowers", namespace=HOME)
    lost = {"type": "Ready", "status": "False", "message": "the subscription has gone"}
    apiserver.status(TRIGGER, "flowers", {**trigger["status"], "conditions": [lost]}, namespace=HOME)
    fail(cluster, plain_app(image="registry.example/barn/flowers@sha256:" + "d" * 64))
    assert parse_rollout_status(knative.service()).shares == {"flowers-00001": 100}
