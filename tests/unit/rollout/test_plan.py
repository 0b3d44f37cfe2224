"""What a word, a deploy or a decision makes of a rollout, from how things stand."""

from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import NotFoundError
from eaves.rollout import RolloutSettings
from eaves.rollout.counters import RequestCounters, RevisionCounts
from eaves.rollout.plan import (
    Plan,
    plan_begin,
    plan_percent,
    plan_rollback,
)
from eaves.rollout.state import (
    LATEST,
    RolloutPhase,
    RolloutState,
    RolloutStatus,
    render_traffic,
)
from knative.status.traffic import parse_traffic

NOW = 5000.0
SETTINGS = RolloutSettings(steps=("20",))


def standing(
    traffic: dict[str, int], *, newest: str = "a-2", state: RolloutState | None = None, ready: str = ""
) -> RolloutStatus:
    shares = {name or ready: percent for name, percent in traffic.items() if name or ready}
    return RolloutStatus(name="a", newest=newest, traffic=traffic, shares=shares, state=state)


def share(before: RolloutStatus, percent: int) -> Plan:
    plan = plan_percent(before, percent, NOW)
    assert plan is not None
    return plan


def rolling(percent: int, phase: RolloutPhase = RolloutPhase.ADVANCING) -> RolloutState:
    shares = {name: share for name, share in (("a-1", 100 - percent), ("a-2", percent)) if share}
    return RolloutState(old="a-1", new="a-2", phase=phase, traffic=shares, since=1.0)


@pytest.mark.parametrize(
    ("answered", "said"),
    [(11, "11 of 20 requests counted; this step"), (64, "64 requests counted, which do not decide this step yet")],
)
def test_a_report_says_no_step_is_judged_at_a_number_of_requests_that_it_has_passed(answered: int, said: str):
    counts = RevisionCounts(totals={"a-2": RequestCounters(answered=answered)})
    state = replace(rolling(20), counts=counts, settings=replace(SETTINGS, min_requests=20))
    assert standing({"a-1": 80, "a-2": 20}, state=state).report().reason.startswith(said)


# set_percent


def test_the_newest_revision_is_never_the_rest_of_itself():
    assert share(standing({"a-1": 10, "a-2": 90}), 40).traffic == {"a-1": 60, "a-2": 40}
    plan = share(standing({"a-2": 100}, state=rolling(100, RolloutPhase.DONE)), 40)
    assert plan.traffic == {"a-1": 60, "a-2": 40}
    assert plan.needs == ("a-2", "a-1"), "a-1 gets requests again, so it must be ready too"


def test_the_only_revision_has_everything_and_cant_have_less():
    with pytest.raises(NotFoundError, match="only known revision"):
        share(standing({"a-2": 100}), 50)
    with pytest.raises(NotFoundError, match="no revision yet"):
        share(standing({LATEST: 100}, newest=""), 50)
    assert share(standing({LATEST: 100}, ready="a-2"), 100).traffic == {"a-2": 100}


# rollback


def test_there_may_be_nothing_before_it():
    with pytest.raises(NotFoundError, match="no known revision before a-2"):
        plan_rollback(standing({"a-2": 100}), NOW)
    damaged = replace(standing({"a-2": 100}), fault="the annotation can't be read")
    with pytest.raises(NotFoundError, match="can't be read"):
        plan_rollback(damaged, NOW)


# begin


@pytest.mark.parametrize("phase", [RolloutPhase.HELD, RolloutPhase.DONE, RolloutPhase.ROLLED_BACK])
def test_what_has_come_to_its_end_stays_there_and_takes_the_settings_for_the_next_one(phase: RolloutPhase):
    state = rolling(100 if phase is RolloutPhase.DONE else 0, phase)
    plan = plan_begin(standing(dict(state.traffic), state=state), SETTINGS, NOW)
    assert plan.traffic is None
    assert plan.state == replace(state, settings=SETTINGS)


def test_the_next_revision_after_shares_set_by_other_means_is_set_against_the_largest():
    plan = plan_begin(standing({"a-0": 70, "a-9": 30}, newest="a-3", state=rolling(10)), SETTINGS, NOW)
    assert (plan.state.old, plan.traffic) == ("a-0", {"a-0": 100})


# Reading a Service


def test_what_follows_the_newest_revision_is_distinguished_and_can_be_resolved():
    entries: list[dict[str, Any]] = [
        {"latestRevision": True, "percent": 60},
        {"revisionName": "a-1", "percent": 40},
    ]
    traffic = {LATEST: 60, "a-1": 40}
    for latest, shares in (("a-2", {"a-2": 60, "a-1": 40}), ("a-1", {"a-1": 100}), ("", {"a-1": 40})):
        assert parse_traffic(entries, latest) == (traffic, shares)
    assert render_traffic(traffic) == "the latest 60 %, a-1 40 %"
    assert render_traffic({}) == "nobody"
