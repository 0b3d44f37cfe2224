"""What is decided about a rollout, from what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative.rollout.judgement import Decision, Health, Observation, Verb, decide
from knative.rollout.plan import plan_decision
from knative.rollout.state import Phase, State
from knative.rollout.tally import Counts, Tally
from knative.rollout.traffic import split
from knative.settings import RolloutSettings

OLD, NEW = "a-1", "a-2"
BEGUN = 1000.0
SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60, deadline_s=600, min_requests=20)


def tally(
    answered: int = 0, failed: int = 0, *, ms: float = 100.0, timed: int | None = None, refused: int = 0
) -> Tally:
    timed = answered if timed is None else timed
    return Tally(answered=answered, failed=failed, refused=refused, timed=timed, seconds=timed * ms / 1000)


def at(
    percent: int = 10,
    *,
    new: Tally | None = None,
    old: Tally | None = None,
    before: Tally | None = None,
    settings: RolloutSettings = SETTINGS,
) -> State:
    """A rollout with `new` and `old` in the present step, and `before` of the old revision before it."""
    base = {OLD: before or Tally()}
    totals = {NEW: new or Tally(), OLD: (before or Tally()) + (old or Tally())}
    counts = Counts(totals=totals, base=base)
    shares = split(NEW, percent, OLD)
    return State(old=OLD, new=NEW, phase=Phase.ADVANCING, traffic=shares, since=BEGUN, settings=settings, counts=counts)


def seen(state: State, *, new: Health | None = None, old: Health | None = None, **unread: str) -> Observation:
    return Observation(
        new=new or Health(name=NEW), old=old or Health(name=OLD), traffic=dict(state.traffic), unread=unread
    )


def decided(state: State, *, after_s: float = 60.0, new: Health | None = None, old: Health | None = None) -> Decision:
    return decide(state, seen(state, new=new, old=old), BEGUN + after_s)


def test_once_it_is_ready_the_new_revision_gets_the_first_share() -> None:
    assert decided(at(0), after_s=0, new=Health(name=NEW, ready=None)).verb is Verb.WAIT
    decision = decided(at(0), after_s=0)
    assert (decision.verb, decision.percent) == (Verb.ADVANCE, 10)


def test_step_by_step_it_gets_more_and_at_last_everything() -> None:
    good = tally(20)
    assert (decided(at(10, new=good)).verb, decided(at(10, new=good)).percent) == (Verb.ADVANCE, 50)
    assert (decided(at(50, new=good)).verb, decided(at(50, new=good)).percent) == (Verb.FINISH, 100)
    assert decided(at(30, new=good)).percent == 50, "a share between two steps, which a person set"


def test_a_step_lasts_its_time_and_needs_its_requests() -> None:
    assert decided(at(new=tally(1000)), after_s=59).verb is Verb.WAIT
    assert decided(at(new=tally(19)), after_s=599).verb is Verb.WAIT
    assert decided(at(new=tally(0, refused=500)), after_s=599).verb is Verb.WAIT, "refusals say nothing of it"


def test_too_few_requests_at_the_deadline_hold_it() -> None:
    decision = decided(at(new=tally(3, refused=7)), after_s=600)
    assert (decision.verb, decision.percent) == (Verb.HOLD, 10)
    assert "3 of 20" in decision.reason
    assert "7 were refused" in decision.reason


def test_one_that_fails_more_often_is_rolled_back_without_waiting_for_the_end_of_the_step() -> None:
    decision = decided(at(new=tally(19, 1), old=tally(180)), after_s=5)
    assert (decision.verb, decision.percent) == (Verb.ROLL_BACK, 0)
    assert "1 of 20 requests failed (before: 0 of 180)" in decision.reason


def test_one_that_fails_as_often_as_the_old_one_goes_on() -> None:
    assert decided(at(new=tally(90, 10), old=tally(900, 100))).verb is Verb.ADVANCE
    assert decided(at(new=tally(89, 11), old=tally(900, 100))).verb is Verb.ADVANCE, "one percent more is allowed"
    assert decided(at(new=tally(88, 12), old=tally(900, 100))).verb is Verb.ROLL_BACK


def test_the_old_revisions_earlier_requests_count_where_it_had_few_in_this_step() -> None:
    assert decided(at(new=tally(95, 5), old=tally(2), before=tally(950, 50))).verb is Verb.ADVANCE
    assert decided(at(new=tally(95, 5), old=tally(100), before=tally(950, 50))).verb is Verb.ROLL_BACK
    assert decided(at(new=tally(99, 1))).verb is Verb.ADVANCE, "nothing is known of it: as if it never failed"
    assert decided(at(new=tally(95, 5))).verb is Verb.ROLL_BACK


def test_one_that_is_too_slow_is_rolled_back() -> None:
    assert decided(at(new=tally(20, ms=150), old=tally(180, ms=100))).verb is Verb.ADVANCE
    decision = decided(at(new=tally(20, ms=151), old=tally(180, ms=100)))
    assert decision.verb is Verb.ROLL_BACK
    assert "151.0 ms (before: 100.0)" in decision.reason
    assert decided(at(new=tally(20, ms=151), before=tally(5000, ms=100))).verb is Verb.ROLL_BACK


def test_times_are_not_compared_where_either_has_few_and_that_is_told() -> None:
    for state in (
        at(new=tally(20, ms=900)),
        at(new=tally(20, ms=900), old=tally(30, timed=9)),
        at(new=tally(20, ms=900, timed=9), old=tally(100)),
    ):
        decision = decided(state)
        assert decision.verb is Verb.ADVANCE
        assert "times aren't compared" in decision.reason


def test_a_revision_that_failed_is_rolled_back_with_its_message() -> None:
    failed = Health(name=NEW, ready=False, message="golden image 3 differs")
    for percent in (0, 10, 50):
        decision = decided(at(percent), new=failed)
        assert (decision.verb, decision.percent) == (Verb.ROLL_BACK, 0)
        assert "golden image 3 differs" in decision.reason
    assert decided(at(10), new=Health(name=NEW, exists=False, ready=None)).verb is Verb.ROLL_BACK


def test_one_that_never_becomes_ready_is_held_at_the_deadline() -> None:
    decision = decided(at(0), after_s=600, new=Health(name=NEW, ready=None, message="pulling"))
    assert decision.verb is Verb.HOLD
    assert "pulling" in decision.reason


def test_the_first_revision_of_all_gets_everything_once_it_is_ready_and_is_waited_for_until_then() -> None:
    state = State(old="", new=NEW, phase=Phase.ADVANCING, since=BEGUN, settings=SETTINGS)
    for ready in (False, None):
        observation = Observation(new=Health(name=NEW, ready=ready, message="no room"), traffic={"": 100})
        decision = decide(state, observation, BEGUN + 10_000)
        assert decision.verb is Verb.WAIT
        assert "no room" in decision.reason
    decision = decide(state, Observation(new=Health(name=NEW), traffic={"": 100}), BEGUN)
    assert (decision.verb, decision.percent) == (Verb.FINISH, 100)


def test_shares_that_somebody_else_set_hold_it() -> None:
    state = at(10, new=tally(1000))
    decision = decide(state, replace(seen(state), traffic={OLD: 100}), BEGUN + 60)
    assert decision.verb is Verb.HOLD
    assert "from a-1 90 %, a-2 10 % to a-1 100 %" in decision.reason


def test_it_is_held_when_the_old_revision_is_gone() -> None:
    assert decided(at(10, new=tally(1000)), old=Health(name=OLD, exists=False, ready=None)).verb is Verb.HOLD


def test_pods_that_cant_be_asked_are_told_of() -> None:
    state = at(10)
    decision = decide(state, seen(state, pod="403: no"), BEGUN + 600)
    assert decision.verb is Verb.HOLD
    assert "1 of the pods can't be asked (pod: 403: no)" in decision.reason


def test_a_clock_that_goes_back_makes_a_step_longer_and_never_shorter() -> None:
    state = at(10, new=tally(1000))
    decision = decide(state, seen(state), BEGUN - 5000)
    assert decision.verb is Verb.WAIT
    plan = plan_decision(state, decision, state.traffic, BEGUN - 5000, ())
    assert plan.state.since == BEGUN - 5000
    assert decide(plan.state, seen(state), BEGUN - 4941).verb is Verb.WAIT
    assert decide(plan.state, seen(state), BEGUN - 4940).verb is Verb.ADVANCE


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.DONE, Phase.ROLLED_BACK])
def test_what_is_not_advancing_is_left_alone(phase: Phase) -> None:
    state = replace(at(10, new=tally(1000)), phase=phase)
    assert decide(state, replace(seen(state), traffic={"x": 100}), BEGUN + 10**6).verb is Verb.WAIT


def test_without_steps_it_gets_everything_as_soon_as_it_is_ready() -> None:
    assert decided(at(0, settings=RolloutSettings(steps=()))).verb is Verb.FINISH


TALLIES = st.builds(tally, st.integers(0, 60), st.integers(0, 5), ms=st.floats(1, 1000), refused=st.integers(0, 50))
HEALTHS = st.builds(Health, name=st.just(NEW), exists=st.booleans(), ready=st.sampled_from([True, False, None]))


@given(
    percent=st.integers(0, 99),
    new=TALLIES,
    old=TALLIES,
    before=TALLIES,
    health=HEALTHS,
    other=HEALTHS,
    after_s=st.floats(-1000, 1000),
)
def test_whatever_is_seen_no_share_grows_on_less_than_the_requests_and_the_time_asked_for(
    percent: int, new: Tally, old: Tally, before: Tally, health: Health, other: Health, after_s: float
) -> None:
    state = at(percent, new=new, old=old, before=before)
    decision = decided(state, after_s=after_s, new=health, old=other)
    plan = plan_decision(state, decision, state.traffic, BEGUN + after_s, ())
    assert decision.reason
    assert sum(plan.state.traffic.values()) == 100
    assert plan.traffic is None or plan.traffic == plan.state.traffic
    assert plan.state.percent == decision.percent
    if decision.percent > percent:
        assert health.ready is True
        assert health.exists
        assert percent == 0 or (new.judged >= 20 and after_s >= 60)
        assert decision.percent in SETTINGS.percents()
        assert new.error_rate <= max(old.error_rate, (old + before).error_rate) + 0.01 or percent == 0
    elif decision.percent < percent:
        assert (decision.verb, plan.state.phase) == (Verb.ROLL_BACK, Phase.ROLLED_BACK)
