"""What a person says about the shares, over an API apiserver that keeps state and who owns what."""

from threading import Timer

import pytest

from eaves.errors import NotFoundError, StartError
from eaves.rollout import RolloutPhase
from knative import rollout
from knative.client.cluster import Cluster
from tests.cluster.rollouts import FIRST, NAME, SECOND, THIRD, deploy, shares
from tests.fakes.controllers.serving import REVISION, Serving
from tests.fakes.kubernetes.apiserver import FakeCluster


@pytest.fixture
def serving(apiserver: FakeCluster, cluster: Cluster) -> Serving:
    """One revision has everything; a second one is ready at 0 %."""
    serving = Serving(apiserver, cluster.namespace)
    deploy(cluster, "r/f@sha256:1")
    serving.ready(FIRST)
    rollout.fix_traffic(cluster, NAME)
    deploy(cluster, "r/f@sha256:2")
    serving.ready(SECOND)
    return serving


def test_at_zero_percent_it_gets_no_requests_and_a_deploy_leaves_that_alone(cluster: Cluster, serving: Serving):
    rollout.set_percent(cluster, NAME, 0)
    assert shares(serving) == {FIRST: 100}
    deploy(cluster, "r/f@sha256:2")
    assert shares(serving) == {FIRST: 100}, "a deploy leaves shares alone"


def test_what_just_was_deployed_is_rolled_back_before_it_got_anything(cluster: Cluster, serving: Serving):
    serving.ready(SECOND, False, message="golden image 3 differs")
    outcome = rollout.rollback(cluster, NAME)
    assert outcome.state is not None
    assert (outcome.state.phase, outcome.shares) == (RolloutPhase.ROLLED_BACK, {FIRST: 100})
    with pytest.raises(NotFoundError, match="no earlier revision is known"):
        rollout.rollback(cluster, NAME)
    with pytest.raises(StartError, match="flowers-00002 failed: golden image 3 differs"):
        rollout.promote(cluster, NAME)


def test_a_revision_that_isnt_ready_gets_nothing(cluster: Cluster, serving: Serving):
    deploy(cluster, "r/f@sha256:3")
    with pytest.raises(StartError, match="flowers-00003 isn't ready yet"):
        rollout.set_percent(cluster, NAME, 10)
    serving.ready(THIRD, False, message="no room")
    with pytest.raises(StartError, match="flowers-00003 failed: no room") as raised:
        rollout.promote(cluster, NAME)
    assert raised.value.hint == "eaves logs flowers --on knative", "without --on, this machine's logs are read"
    assert shares(serving) == {FIRST: 100}


def test_there_may_be_nothing_to_go_back_to(cluster: Cluster, apiserver: FakeCluster, serving: Serving):
    rollout.promote(cluster, NAME)
    apiserver.remove(REVISION, FIRST, namespace="cams")
    with pytest.raises(NotFoundError, match="flowers-00001 no longer exists"):
        rollout.rollback(cluster, NAME)
    with pytest.raises(NotFoundError, match="the function 'roses' does not exist in cams of edge"):
        rollout.rollback(cluster, "roses")
    assert shares(serving) == {SECOND: 100}


def test_it_waits_until_knative_has_taken_up_the_deploy_just_before(cluster: Cluster, serving: Serving):
    serving.paused = True
    deploy(cluster, "r/f@sha256:3")

    def take_up() -> None:
        serving.take_up()
        serving.ready(THIRD)

    timer = Timer(0.3, take_up)
    timer.start()
    outcome = rollout.promote(cluster, NAME)
    timer.join()
    assert outcome.shares == {THIRD: 100}
