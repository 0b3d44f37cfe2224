"""Rollouts in the tests: one function, its revisions, and how far each has come."""

import pytest

from eaves.rollout import RolloutSettings
from knative import rollout
from knative.client.cluster import Cluster
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE, MANAGER
from knative.rollout import RolloutOutcome
from knative.status.traffic import parse_rollout_status
from tests.fakes.controllers.serving import API, Serving
from tests.fakes.kubernetes.cluster import FakeCluster

NAME, FIRST, SECOND, THIRD = "flowers", "flowers-00001", "flowers-00002", "flowers-00003"
SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60, deadline_s=600, min_requests=20, max_error_increase=0.2)
"""With so large an increase allowed, 20 requests without an error are enough for a step."""
START = 1_000_000.0
LABELS = {MANAGED_LABEL: MANAGED_VALUE}


def deploy(cluster: Cluster, image: str) -> None:
    """Deploy a container image as `eaves deploy` does: without a word about shares."""
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    metadata = {"name": NAME, "labels": LABELS}
    cluster.apply({"apiVersion": API, "kind": "Service", "metadata": metadata, "spec": spec}, manager=MANAGER)


def shares(serving: Serving) -> dict[str, int]:
    """Return the current shares of the revisions."""
    return dict(parse_rollout_status(serving.service()).shares)


def redeploy(cluster: Cluster, serving: Serving) -> None:
    """The first revision has everything and a pod; a second one was made, and its rollout has begun at START."""
    deploy(cluster, "r/f@sha256:1")
    serving.ready(FIRST)
    rollout.begin_rollout(cluster, NAME, SETTINGS, now=START)
    serving.start_pod("first", FIRST).serve(1000)
    deploy(cluster, "r/f@sha256:2")
    rollout.begin_rollout(cluster, NAME, SETTINGS, now=START)


def begin_canary(cluster: Cluster, serving: Serving) -> None:
    """The second revision has 10 % since START, and a pod."""
    redeploy(cluster, serving)
    serving.ready(SECOND)
    advance(cluster, 0)
    serving.start_pod("second", SECOND)
    assert shares(serving) == {FIRST: 90, SECOND: 10}


def advance(cluster: Cluster, after_s: float) -> RolloutOutcome:
    """One look, so long after START."""
    return rollout.advance_rollout(cluster, NAME, now=START + after_s)


@pytest.fixture
def serving(apiserver: FakeCluster, cluster: Cluster) -> Serving:
    """Knative Serving in a simulated cluster, with nothing deployed."""
    return Serving(apiserver, cluster.namespace)


@pytest.fixture
def canary(cluster: Cluster, serving: Serving) -> Serving:
    """The second revision has 10 % since START."""
    begin_canary(cluster, serving)
    return serving
