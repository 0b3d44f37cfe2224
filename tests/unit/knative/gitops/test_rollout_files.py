"""The same words on a file."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from eaves.errors import InputError, NotFoundError
from knative.gitops import rollout_files
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout.analysis.decision import RevisionHealth, RolloutAction, RolloutObservation, decide_rollout
from knative.rollout.plan import plan_begin
from knative.rollout.rollout_status import parse_rollout_status
from knative.rollout.traffic import parse_preview, parse_traffic
from knative.settings import RolloutSettings


def rendered(revision: str) -> dict[str, Any]:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "a", "annotations": {"mine": "stays"}},
        "spec": {"template": {"metadata": {"name": revision}, "spec": {"containers": [{"image": revision}]}}},
    }


def shares(manifest: dict[str, Any]) -> dict[str, int]:
    return parse_traffic(manifest["spec"]["traffic"])


def test_the_first_file_gives_its_revision_everything() -> None:
    assert shares(rollout_files.retarget(None, rendered("a-x"))) == {"a-x": 100}


def test_a_new_file_leaves_everything_with_the_revision_that_the_old_one_serves() -> None:
    first = rollout_files.retarget(None, rendered("a-x"))
    second = rollout_files.retarget(first, rendered("a-y"))
    assert (shares(second), parse_preview(second["spec"]["traffic"])) == ({"a-x": 100}, "a-y")
    assert second["spec"]["template"] == rendered("a-y")["spec"]["template"]
    assert second["metadata"]["annotations"]["mine"] == "stays"


def test_a_file_that_said_nothing_of_shares_served_its_own_revision() -> None:
    assert shares(rollout_files.retarget(rendered("a-x"), rendered("a-y"))) == {"a-x": 100}


def test_the_same_revision_rendered_again_changes_no_shares() -> None:
    file = rollout_files.set_percent(rollout_files.retarget(rendered("a-x"), rendered("a-y")), 30)
    assert rollout_files.retarget(file, rendered("a-y")) == file
    assert shares(rollout_files.retarget(rendered("a-x"), rendered("a-x"))) == {"a-x": 100}


def test_a_third_revision_is_set_against_the_one_that_had_proven_itself() -> None:
    file = rollout_files.set_percent(rollout_files.retarget(rendered("a-x"), rendered("a-y")), 60)
    assert shares(rollout_files.retarget(file, rendered("a-z"))) == {"a-x": 100}


def test_shares_promote_and_rollback_are_as_on_a_cluster() -> None:
    file = rollout_files.retarget(rendered("a-x"), rendered("a-y"))
    assert shares(rollout_files.set_percent(file, 30)) == {"a-x": 70, "a-y": 30}
    assert shares(rollout_files.rollback(file)) == {"a-x": 100}
    assert parse_preview(rollout_files.rollback(file)["spec"]["traffic"]) == "", (
        "one that failed would hold up the route"
    )
    promoted = rollout_files.promote(file)
    assert shares(promoted) == {"a-y": 100}
    assert rollout_files.promote(promoted) == promoted
    back = rollout_files.rollback(promoted)
    assert shares(back) == {"a-x": 100}
    assert rollout_files.rollback(back, undo=False) == back
    assert shares(rollout_files.rollback(back)) == {"a-y": 100}
    with pytest.raises(NotFoundError):
        rollout_files.rollback(rendered("a-x"))


def test_what_goes_in_is_not_changed_and_the_same_words_make_the_same_file() -> None:
    file = rollout_files.retarget(rendered("a-x"), rendered("a-y"))
    before = copy.deepcopy(file)
    made = [
        rollout_files.set_percent(file, 10),
        rollout_files.promote(file),
        rollout_files.rollback(file),
        rollout_files.retarget(file, rendered("b")),
    ]
    assert file == before
    assert made[0] == rollout_files.set_percent(rollout_files.set_percent(file, 77), 10)
    assert all(one["metadata"]["annotations"]["mine"] == "stays" for one in made)


def test_shares_can_be_set_directly() -> None:
    assert shares(rollout_files.with_traffic(rendered("a-x"), {"a-w": 5, "a-x": 95})) == {"a-w": 5, "a-x": 95}
    with pytest.raises(InputError):
        rollout_files.with_traffic(rendered("a-x"), {"a-x": 95})


def test_a_file_that_does_not_name_its_revision_is_refused() -> None:
    with pytest.raises(InputError, match=r"spec\.template\.metadata\.name"):
        rollout_files.promote({"metadata": {"name": "a"}, "spec": {"template": {}}})


def test_nothing_in_a_file_continues_by_itself() -> None:
    """Commands that advance rollouts don't change what GitOps has applied."""
    file = rollout_files.retarget(rendered("a-x"), rendered("a-y"))
    for manifest in (
        file,
        rollout_files.set_percent(file, 10),
        rollout_files.promote(file),
        rollout_files.rollback(file),
    ):
        live = {**manifest, "status": {"latestCreatedRevisionName": "a-y", "latestReadyRevisionName": "a-y"}}
        standing = parse_rollout_status(live)
        assert standing.current is not None
        seen = RolloutObservation(
            new=RevisionHealth(name="a-y"), old=RevisionHealth(name="a-x"), traffic=standing.traffic
        )
        assert decide_rollout(standing.current, seen, 10**9).verb is RolloutAction.WAIT
        assert plan_begin(standing, RolloutSettings(), 10**9).state == standing.current


def test_the_annotation_is_small_and_tells_no_time() -> None:
    text = rollout_files.set_percent(rollout_files.retarget(rendered("a-x"), rendered("a-y")), 30)["metadata"][
        "annotations"
    ][ROLLOUT_ANNOTATION]
    assert json.loads(text) == {
        "v": 2,
        "old": "a-x",
        "new": "a-y",
        "phase": "held",
        "traffic": {"a-x": 70, "a-y": 30},
        "reason": "set to 30 % by a user",
    }
