"""One site brought to what is wanted, in one call: shares kept, applied, waited for, rolled out to its end."""

from collections.abc import Callable

import pytest

from eaves.errors import ConfigError, ConflictError, StartError
from eaves.rollout import RolloutPhase
from knative.client.cluster import Cluster
from knative.deploy.ownership import CREATED, UNCHANGED
from knative.deploy.site_update import SiteUpdate
from tests.cluster.apps import IMAGE
from tests.cluster.deploys import last, outcomes, update
from tests.cluster.rollouts import FIRST, SECOND, shares
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request

OTHER = "registry.example/barn/flowers@sha256:" + "d" * 64


def phase(updated: SiteUpdate) -> RolloutPhase:
    assert updated.outcome is not None
    assert updated.outcome.state is not None
    return updated.outcome.state.phase


def test_a_first_revision_serves_as_soon_as_it_is_ready(cluster: Cluster, knative: Knative):
    updated = update(cluster)
    assert {one.outcome for one in updated.applied} == {CREATED}
    assert phase(updated) is RolloutPhase.DONE
    assert shares(knative) == {FIRST: 100}


def test_shares_are_kept_before_anything_is_applied(cluster: Cluster, knative: Knative):
    update(cluster, ready_s=0)
    assert knative.service()["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}], "detached: not yet ours"
    updated = update(cluster, image=OTHER, ready_s=0)
    assert updated.outcome is None
    assert shares(knative) == {FIRST: 100}, "although the second one was ready at once"


def test_the_same_again_changes_nothing_and_leaves_the_rollout_where_it_is(cluster: Cluster, knative: Knative):
    update(cluster)
    update(cluster, image=OTHER)
    version, before = knative.server.objects.version, last(cluster)
    updated = update(cluster, image=OTHER)
    assert {one.outcome for one in updated.applied} == {UNCHANGED}
    assert phase(updated) is RolloutPhase.ADVANCING
    assert knative.server.objects.version == version + 1, "its number in the sequence"
    assert last(cluster).sequence == before.sequence + 1


def test_a_model_with_other_labels_is_announced_before_its_revision_exists(cluster: Cluster, knative: Knative):
    update(cluster, classes='["daisy", "rose"]')
    said: list[tuple[str, str]] = []

    def tell(text: str) -> None:
        said.append((text, knative.service()["spec"]["template"]["spec"]["containers"][0]["image"]))

    update(cluster, image=OTHER, classes='["rose", "daisy"]', tell=tell)
    assert said == [], "the same labels in another order"
    update(cluster, image=IMAGE, classes='["rose", "tulip"]', tell=tell)
    text = "the model has other labels than the one deployed before: 1 gone (daisy), 1 new (tulip)"
    assert said == [(text, OTHER)]
    update(cluster, image=OTHER, classes="{tulip", tell=tell)
    update(cluster, image=IMAGE, tell=tell)
    assert len(said) == 1, "container images that name no labels, or something else"


def followed(cluster: Cluster, knative: Knative, **served: int) -> tuple[list[str], Callable[[], SiteUpdate]]:
    """Follow a second revision; at each progress message, replicas answer requests and a minute passes."""
    update(cluster)
    pods = [knative.run(FIRST, "old")]
    pods[0].serve(100)
    reported: list[str] = []

    def tell(text: str) -> None:
        reported.append(text)
        if "new" not in knative.pods and f"{SECOND} 50 %" in text:
            knative.run(SECOND, "new")
        if "new" in knative.pods:
            knative.pods["new"].serve(**served)
        pods[0].serve(10)
        knative.server.skew_s += 60

    return reported, lambda: update(cluster, image=OTHER, follow=True, tell=tell)


def test_a_rollout_is_followed_to_its_end(cluster: Cluster, knative: Knative):
    reported, go = followed(cluster, knative, answered=20)
    assert phase(go()) is RolloutPhase.DONE
    assert shares(knative) == {SECOND: 100}
    assert reported[0] == f"{FIRST} 50 %, {SECOND} 50 %: advancing: the revision is ready"
    assert reported[-1].startswith(f"{SECOND} 100 %: done: 0 of 20 requests failed")


def test_one_that_fails_more_often_is_rolled_back_and_the_command_fails(cluster: Cluster, knative: Knative):
    reported, go = followed(cluster, knative, answered=10, failed=10)
    with pytest.raises(
        StartError, match=r"flowers was not promoted: .*rolled-back: the new revision fails more often .*; 50 of 100"
    ) as e:
        go()
    assert e.value.hint == "eaves rollout flowers --on knative"
    assert shares(knative) == {FIRST: 100}
    assert "rolled-back" in reported[-1]


def test_a_link_that_is_down_for_a_while_is_waited_for(cluster: Cluster, knative: Knative):
    reported, go = followed(cluster, knative, answered=20)
    down = 8

    def fault(request: Request) -> Reply | None:
        nonlocal down
        if any(f"{SECOND} 50 %" in text for text in reported) and down:
            down -= 1
            return Reply(status=0)
        return None

    knative.server.fault = fault
    assert phase(go()) is RolloutPhase.DONE
    assert any("broke" in text for text in reported)


def test_eaves_yaml_is_judged_before_the_cluster_is_touched(cluster: Cluster, apiserver: FakeCluster):
    with pytest.raises(ConfigError, match=r"knative\.image: must name .* by digest"):
        update(cluster, image="registry.example/flowers:v1")
    assert apiserver.log == []


def test_a_foreign_function_keeps_its_shares_until_it_is_taken_over(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    spec = {"template": {"spec": {"containers": [{"image": "registry.example/other:1"}]}}}
    spec |= {"traffic": [{"latestRevision": True, "percent": 100}]}  # type: ignore[dict-item]
    manifest = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "flowers"}}
    knative._take_up(apiserver.put({**manifest, "spec": spec}, manager="kn", namespace="cams"))
    with pytest.raises(ConflictError):
        update(cluster)
    assert knative.service()["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    updated = update(cluster, adopt=True)
    assert outcomes(list(updated.applied))["adopted"] == {"Service/flowers"}
    assert shares(knative) == {FIRST: 100}, "what kn had made serves on"
    assert phase(updated) is RolloutPhase.ADVANCING
