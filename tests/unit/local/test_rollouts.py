"""A rollout's file on this machine, between any two writes of a change; and whose turn a request is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from eaves.base.clock import SYSTEM
from eaves.errors import PlatformError, StartError
from eaves.local.processes.activator import Activator
from eaves.local.processes.request_split import RequestSplit
from eaves.local.rollouts import LocalRollout, begin_rollout, change_rollout, is_unsaved, load_rollouts
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.rollout import RolloutPhase, RolloutSettings
from eaves.rollout.counters import RequestCounters, RevisionCounts
from eaves.rollout.plan import plan_percent, plan_rollback

OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64


def app(digest: str, **env: str) -> LocalApp:
    return LocalApp(function=LocalFunction(name="f", site="s", artifact=Path("/"), artifact_digest=digest, env=env))


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """A state directory in which the old app serves."""
    made = StateDirectory(root=tmp_path)
    made.write_spec(app(OLD))
    return made


def begin(state: StateDirectory, digest: str = NEW) -> LocalRollout:
    settings = RolloutSettings(steps=("20",))
    made = change_rollout(state, "f", lambda spec, _: begin_rollout(spec or app(OLD), app(digest), settings, 1000.5))
    assert made is not None
    return made


def load(state: StateDirectory) -> tuple[LocalApp, LocalRollout | None]:
    """What a new platform reads: the spec, and the rollout."""
    specs = state.read_specs()[0]
    found = load_rollouts(state, specs)
    return specs["f"], found.get("f")


def test_a_rollout_is_read_as_it_was_written_and_the_old_app_stays_the_spec(state: StateDirectory):
    made = begin(state)
    counted = RevisionCounts(totals={"a" * 12: RequestCounters(answered=3, timed=2, seconds=0.123457)})
    stored = replace(made, state=replace(made.state, counts=counted, traffic={"a" * 12: 80, "b" * 12: 20}))
    change_rollout(state, "f", lambda *_: stored)
    assert load(state) == (app(OLD), stored)
    assert stored.candidate == app(NEW).function
    assert not is_unsaved(made.state, replace(made.state, counts=counted)), "the rest is lost with at most one window"
    assert is_unsaved(made.state, stored.state)


@pytest.mark.parametrize("phase", RolloutPhase)
def test_a_change_that_a_kill_broke_off_before_the_spec_was_written_is_completed(
    state: StateDirectory, phase: RolloutPhase
):
    made = begin(state)
    file = state.rollouts / "f.json"
    ended = replace(made, state=replace(made.state, phase=phase))
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "state": {**values["state"], "phase": phase}}))
    wanted = app(NEW) if phase is RolloutPhase.DONE else app(OLD)
    for _ in range(2):
        assert load(state) == (wanted, ended)
        assert state.read_spec("f") == wanted
    state.write_spec(app(NEW))  # and from the other side: the spec of an earlier phase
    assert load(state) == (wanted, ended)


def test_what_is_damaged_or_about_other_apps_is_no_rollout_and_the_spec_serves(state: StateDirectory):
    begin(state)
    state.write_spec(app(THIRD))
    assert load(state) == (app(THIRD), None)
    state.write_spec(app(OLD, EAVES_QUEUE="3"))
    assert load(state)[1] is None, "the same artifact with other settings is another app"
    state.write_spec(app(OLD))
    for text in ("", "[]", "{}", '{"before": {}, "after": {}, "state": {}}'):
        (state.rollouts / "f.json").write_text(text)
        assert load(state) == (app(OLD), None)
    assert begin(state).before == app(OLD), "and doesn't keep the next one from beginning"


def test_an_artifact_is_no_canary_of_itself(state: StateDirectory):
    with pytest.raises(PlatformError, match="already"):
        begin(state, OLD)
    assert load(state) == (app(OLD), None)


def test_a_promotion_and_rollbacks_move_the_spec(state: StateDirectory):
    begin(state)

    def follow(plan: Callable[..., object], now: float, **how: object) -> LocalApp:
        change_rollout(state, "f", lambda _, found: found and found.follow(plan(found.standing, now=now, **how)))  # type: ignore[arg-type]
        return state.read_spec("f")

    assert follow(plan_percent, 2.0, percent=30) == app(OLD)
    assert follow(plan_percent, 3.0, percent=100) == app(NEW)
    assert follow(plan_rollback, 4.0) == app(OLD)
    assert follow(plan_rollback, 5.0) == app(NEW)


class Replicas(Activator):
    """Replicas that answer with a name, or can't start."""

    def __init__(self, name: str, *, starts: bool = True) -> None:
        self.name = name
        self.starts = starts

    def answer(self, left_s: float) -> str:
        if not self.starts:
            raise StartError(f"{self.name} can't start")
        assert left_s >= 1
        return self.name


def ask(split: RequestSplit) -> str:
    return split.ask(lambda one, left_s: cast(Replicas, one).answer(left_s), 5.0)


@pytest.mark.parametrize("percent", [0, 1, 10, 37, 50, 99, 100])
def test_any_hundred_requests_in_a_row_are_divided_exactly_and_so_are_those_of_sources_that_take_turns(
    percent: int,
):
    split = RequestSplit([Replicas("old"), Replicas("new")], percent, SYSTEM)
    answers = [ask(split) for _ in range(300)]
    assert {answers[at : at + 100].count("new") for at in range(200)} == {percent}
    for sources in (2, 4, 5):
        parts = [answers[source:200:sources].count("new") for source in range(sources)]
        assert max(parts) - min(parts) <= 2


def test_a_request_of_a_revision_that_can_not_start_goes_to_the_other_one_with_a_share():
    old, new = Replicas("old"), Replicas("new", starts=False)
    assert {ask(RequestSplit([old, new], 50, SYSTEM)) for _ in range(10)} == {"old"}
    split = RequestSplit([Replicas("old", starts=False), Replicas("new")], 50, SYSTEM)
    assert {ask(split) for _ in range(10)} == {"new"}
    split.percent = 0
    with pytest.raises(StartError, match="old"):
        ask(split)
