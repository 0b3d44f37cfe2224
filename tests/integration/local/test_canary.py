"""A canary on one machine, with `eaves up`, its functions and an agent as real processes."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.artifact.store import HANDLER
from eaves.errors import NotFoundError, PlatformError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.rollouts import REVISION_CHARACTERS
from eaves.platform import SourceSpec
from eaves.rollout import RolloutReport, RolloutSettings
from tests.contract.harness import LocalHarness, status_of
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.integration.local.apps import COLOURS_NAME as NAME
from tests.integration.local.apps import colours_app
from tests.waiting import wait_until

FAST = RolloutSettings(steps=("50",), step_s=1, min_requests=5, max_error_increase=0.5)
SLOW = replace(FAST, min_requests=10_000)
"""Settings with which no step ends within a test."""
FAILS = 'content_types = ("image/png",)\n\n\ndef preprocess(data):\n    {}["no such key"]\n'
CRASHES = 'import os\n\ncontent_types = ("image/png",)\n\n\ndef preprocess(data):\n    os._exit(3)\n'
STARTS_NOT = "import no_such_module\n"
MakeArtifact = Callable[..., Artifact]


@pytest.fixture
def up(harness: LocalHarness) -> LocalHarness:
    """A running platform."""
    harness.start()
    return harness


@pytest.fixture
def make(tmp_path: Path) -> MakeArtifact:
    """The colour model in this version, perhaps with a handler."""

    def write(version: str, handler: str = "") -> Artifact:
        def change(at: Path) -> None:
            if handler:
                (at / HANDLER).write_text(handler)

        return write_graph_artifact(tmp_path / version, change=change, version=version)

    return write


def revision(artifact: Artifact) -> str:
    return artifact.digest[:REVISION_CHARACTERS]


def rollout(up: LocalHarness) -> RolloutReport:
    found = status_of(up.platform).rollout
    assert found is not None
    return found


def shares(up: LocalHarness) -> dict[str, int]:
    """Percent by revision."""
    return {one.revision: one.percent for one in rollout(up).revisions if one.percent}


def counted(up: LocalHarness) -> list[int]:
    """Requests of the new revision and of the old one."""
    return [one.requests or 0 for one in rollout(up).revisions]


def ask(up: LocalHarness, requests: int, first: int = 0) -> Counter[str]:
    """Send images straight to the function, and count the answers by the model's version, or by their status."""
    answers: Counter[str] = Counter()
    data = encode_png(COLOURS["red"])
    for number in range(first, first + requests):
        event = Event(
            id=str(number), source="/eaves/test/x", type=IMAGE_CAPTURED, datacontenttype="image/png", data=data
        )
        answer = up.platform.invoke(NAME, event)
        answers[answer.event.extensions["modelversion"] if answer.event else str(answer.status)] += 1
    return answers


def reaches(up: LocalHarness, phase: str) -> Callable[[], bool]:
    """Whether the rollout is in a phase, after some more requests."""

    def has_reached() -> bool:
        ask(up, 10)
        return rollout(up).phase == phase

    return has_reached


@pytest.mark.long("a platform and two functions start, and two steps of a second pass")
def test_an_equal_canary_gets_every_request_and_can_be_taken_back_and_forth(up: LocalHarness, make: MakeArtifact):
    old, new = make("1"), make("2")
    up.platform.deploy(colours_app(old), canary=FAST)  # the first one has nothing to be compared with
    assert ask(up, 3) == {"1": 3}
    with pytest.raises(PlatformError, match="already"):
        up.platform.deploy(colours_app(old, min=1), canary=FAST)
    up.platform.deploy(colours_app(new), canary=FAST)
    wait_until(lambda: shares(up) == {revision(old): 50, revision(new): 50}, 30, what="the first share")
    wait_until(reaches(up, "done"), 30, pause_s=0.2, what="the promotion")
    assert ask(up, 5) == {"2": 5}
    wait_until(lambda: status_of(up.platform).replicas == 1, 30, what="the end of the old replicas")
    for version in ("1", "2"):
        up.platform.rollback(NAME)
        assert ask(up, 5) == {version: 5}
    assert status_of(up.platform).artifact == str(new.path)


@pytest.mark.long("a platform, an agent and two functions start")
@pytest.mark.parametrize("handler", [FAILS, CRASHES], ids=["fails", "crashes"])
def test_images_that_a_bad_canary_fails_are_answered_by_the_other_and_it_is_rolled_back(
    up: LocalHarness, make: MakeArtifact, tmp_path: Path, handler: str
):
    inbox, source = tmp_path / "inbox", tmp_path / "red.png"
    inbox.mkdir()
    source.write_bytes(encode_png(COLOURS["red"]))
    camera = SourceSpec(name="inbox", options={"path": str(inbox)})
    old, new = make("1"), make("2", handler)
    up.deploy(colours_app(old, camera))
    up.platform.deploy(colours_app(new, camera), canary=FAST)
    sent = 0

    def is_back() -> bool:
        nonlocal sent
        for _ in range(5):
            shutil.copy(source, inbox / f"{sent}.png")
            sent += 1
        return rollout(up).phase == "rolled-back"

    wait_until(is_back, 60, pause_s=0.5, what="the rollback")
    found = rollout(up)
    assert found.reason.startswith("the new revision has answered no request"), found
    assert shares(up) == {revision(old): 100}
    wait_until(lambda: status_of(up.platform).delivered == sent, 60, what="every image's prediction")
    assert status_of(up.platform).dead == 0
    with pytest.raises(NotFoundError, match="rolled back to"):
        up.platform.rollback(NAME)


@pytest.mark.long("a platform and two functions start, one of them three times in vain")
def test_a_canary_that_can_not_start_gets_no_request(up: LocalHarness, make: MakeArtifact):
    up.deploy(colours_app(make("1")))
    up.platform.deploy(colours_app(make("2", STARTS_NOT)), canary=FAST)
    answers: Counter[str] = Counter()

    def is_back() -> bool:
        answers.update(ask(up, 1))
        return rollout(up).phase == "rolled-back"

    wait_until(is_back, 60, pause_s=0.1, what="the rollback")
    assert set(answers) == {"1"}
    assert "no_such_module" in rollout(up).reason


@pytest.mark.long("a platform and two functions start twice")
def test_shares_are_exact_and_survive_a_kill_with_what_was_counted(up: LocalHarness, make: MakeArtifact):
    old, new = make("1"), make("2")
    up.deploy(colours_app(old, idle_s=3))
    settings = replace(FAST, steps=("10", "50"), min_requests=11, max_error_increase=0.05)
    up.platform.deploy(colours_app(new, idle_s=3), canary=settings)
    wait_until(lambda: shares(up).get(revision(new)) == 10, 30, what="the first share")
    assert ask(up, 7) + ask(up, 93) == {"1": 90, "2": 10}
    wait_until(lambda: ask(up, 10) and shares(up).get(revision(new)) == 50, 60, what="the second share")
    assert ask(up, 100) == {"1": 50, "2": 50}
    up.kill()
    assert shares(up) == {revision(old): 50, revision(new): 50}, "also while nothing runs"
    kept = counted(up)
    assert kept[0] >= 10
    assert kept[1] >= 90, "what was counted before the share changed; the window since then may be lost"
    up.start()
    assert ask(up, 20) == {"1": 10, "2": 10}
    wait_until(lambda: counted(up) == [kept[0] + 10, kept[1] + 10], 10, what="the counts")
    wait_until(lambda: status_of(up.platform).replicas == 0, 30, what="no replica of either")
    up.platform.set_percent(NAME, 37)
    assert ask(up, 100) == {"1": 63, "2": 37}
    wait_until(lambda: counted(up) == [kept[0] + 47, kept[1] + 73], 10, what="the counts of all replicas")
    assert rollout(up).phase == "held"
    assert rollout(up).reason == "set to 37 % by a user"
    up.platform.promote(NAME)
    assert ask(up, 5) == {"2": 5}


@pytest.mark.long("a platform and three functions start")
def test_a_third_version_replaces_the_canary_and_a_removal_ends_it(up: LocalHarness, make: MakeArtifact):
    old, new, third = make("1"), make("2"), make("3")
    up.deploy(colours_app(old))
    up.platform.deploy(colours_app(new), canary=replace(SLOW, deadline_s=1))
    wait_until(lambda: rollout(up).phase == "held", 30, what="the end of its time, with too few images to decide")
    assert "undecided after" in rollout(up).reason
    assert shares(up) == {revision(old): 100}
    up.platform.resume_rollout(NAME, SLOW)
    wait_until(lambda: shares(up).get(revision(new)) == 50, 30, what="the first share")
    up.platform.deploy(colours_app(third), canary=SLOW)
    wait_until(lambda: shares(up) == {revision(old): 50, revision(third): 50}, 30, what="the third one's share")
    assert set(ask(up, 20)) == {"1", "3"}
    shutil.rmtree(third.path)
    wait_until(lambda: rollout(up).phase == "rolled-back", 10, what="the end of a canary without its artifact")
    assert "was deleted" in rollout(up).reason
    with pytest.raises(NotFoundError, match="no longer exists"):
        up.platform.promote(NAME)
    up.platform.deploy(colours_app(new))  # without a canary: at once
    assert ask(up, 5) == {"2": 5}
    assert status_of(up.platform).rollout is None
    up.platform.deploy(colours_app(old), canary=SLOW)
    up.platform.remove(NAME)
    assert up.platform.status() == []
    assert not list((up.state / "rollouts").iterdir())
