"""What is decided about a rollout, from what was seen."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from eaves.rollout import RolloutSettings
from eaves.rollout.counters import RequestCounters, RevisionCounts
from eaves.rollout.judges import Assessment, AssessmentResult, judge_labels
from eaves.rollout.plan import (
    JUDGES,
    RevisionHealth,
    RolloutAction,
    RolloutDecision,
    RolloutObservation,
    decide_rollout,
    plan_decision,
)
from eaves.rollout.state import AuditCounts, RolloutPhase, RolloutState, split_traffic

OLD, NEW = "a-1", "a-2"
BEGUN = 1000.0
SETTINGS = RolloutSettings(steps=("10", "50"), step_s=60, deadline_s=600, min_requests=20, max_error_increase=0.2)
STRICT = replace(SETTINGS, max_error_increase=0.01)


def tally(
    answered: int = 0, failed: int = 0, *, ms: float = 100.0, timed: int | None = None, refused: int = 0
) -> RequestCounters:
    timed = answered if timed is None else timed
    return RequestCounters(answered=answered, failed=failed, refused=refused, timed=timed, seconds=timed * ms / 1000)


def at(
    percent: int = 10,
    *,
    new: RequestCounters | None = None,
    old: RequestCounters | None = None,
    before: RequestCounters | None = None,
    settings: RolloutSettings = SETTINGS,
) -> RolloutState:
    """A rollout with `new` and `old` in the present step, and `before` of the old revision before it."""
    base = {OLD: before or RequestCounters()}
    totals = {NEW: new or RequestCounters(), OLD: (before or RequestCounters()) + (old or RequestCounters())}
    counts = RevisionCounts(totals=totals, base=base)
    shares = split_traffic(NEW, percent, OLD)
    return RolloutState(
        old=OLD, new=NEW, phase=RolloutPhase.ADVANCING, traffic=shares, since=BEGUN, settings=settings, counts=counts
    )


def looked(state: RolloutState, *, new: RequestCounters, old: RequestCounters, times: int = 1) -> RolloutState:
    """Looks 15 s apart, each with so much of both revisions more."""
    for _ in range(times):
        counts = state.counts
        totals = {NEW: counts.total(NEW) + new, OLD: counts.total(OLD) + old}
        now = (counts.windows.since or BEGUN) + 15
        state = replace(state, counts=replace(counts, totals=totals).close_window(now, BEGUN))
    return state


def seen(
    state: RolloutState, *, new: RevisionHealth | None = None, old: RevisionHealth | None = None, **unread: str
) -> RolloutObservation:
    return RolloutObservation(
        new=new or RevisionHealth(name=NEW),
        old=old or RevisionHealth(name=OLD),
        traffic=dict(state.traffic),
        unread=unread,
    )


def decided(
    state: RolloutState, *, after_s: float = 60.0, new: RevisionHealth | None = None, old: RevisionHealth | None = None
) -> RolloutDecision:
    return decide_rollout(state, seen(state, new=new, old=old), BEGUN + after_s)


def test_shares_that_changed_in_the_meantime_are_left_alone_when_it_is_held():
    state = at(new=tally(3))
    plan = plan_decision(state, decided(state, after_s=600), {OLD: 40, "x": 60}, BEGUN + 600, ())
    assert (plan.traffic, plan.state.traffic) == (None, {OLD: 40, "x": 60})


# Errors


def test_a_single_failed_request_decides_nothing():
    decision = decided(at(new=tally(19, 1), old=tally(180), settings=STRICT), after_s=5)
    assert decision.action is RolloutAction.WAIT
    assert decision.reason == (
        "too few requests to decide: about 60 more are needed if the new revision is as good as the old one; "
        "1 of 20 requests failed (before: 0 of 180), a prediction takes 100.0 ms (before: 100.0 ms)"
    )


def test_one_that_keeps_failing_more_often_is_rolled_back_without_waiting_for_the_end_of_the_step():
    state = looked(at(settings=STRICT), new=tally(5, 1), old=tally(54), times=8)
    decision = decided(state, after_s=50)
    assert (decision.action, decision.percent) == (RolloutAction.ROLL_BACK, 0)
    assert decision.reason.startswith(
        "the new revision fails more often (by chance, this happens in fewer than 1 of 100,000 steps); "
        "8 of 48 requests failed (before: 0 of 432)"
    )


def test_failed_requests_of_one_moment_never_roll_back():
    state = looked(at(50, settings=STRICT), new=tally(50), old=tally(50), times=4)
    state = looked(state, new=tally(0, 40), old=tally(50))
    decision = decided(state, after_s=100)
    assert decision.action is RolloutAction.WAIT
    assert "40 of 240 requests failed, 40 of them within one or two time windows (before: 0 of 250)" in decision.reason
    state = looked(looked(state, new=tally(0, 40), old=tally(50)), new=tally(0, 40), old=tally(50))
    assert decided(state, after_s=130).action is RolloutAction.ROLL_BACK, "a third moment"


def test_no_share_grows_while_most_of_what_it_answered_has_failed():
    """At a small share even one that fails always keeps all requests together within `max_error_increase`."""
    state = looked(at(20), new=tally(11), old=tally(40))
    state = looked(state, new=tally(0, 12), old=tally(33))
    decision = decided(state)
    assert decision.action is RolloutAction.WAIT
    assert decision.reason.startswith(
        "too few requests to decide whether the new revision keeps failing; 12 of 23 requests failed, 12 of"
    )
    after = looked(state, new=tally(20), old=tally(80), times=2)
    assert decided(after).action is RolloutAction.ADVANCE, "it was a moment"
    worse = looked(state, new=tally(0, 12), old=tally(40), times=3)
    assert decided(worse).action is RolloutAction.ROLL_BACK


def test_one_that_fails_as_often_as_the_old_one_continues_when_enough_was_seen():
    state = at(50, settings=STRICT)
    assert decided(looked(state, new=tally(99, 1), old=tally(99, 1), times=10)).action is RolloutAction.WAIT
    assert decided(looked(state, new=tally(99, 1), old=tally(99, 1), times=50)).action is RolloutAction.FINISH
    assert decided(looked(state, new=tally(199, 1), old=tally(200), times=40)).action is RolloutAction.FINISH, (
        "half is allowed"
    )


def test_the_last_step_needs_the_most_requests_and_a_smaller_share_before_it_less():
    assert least_good(10, old=9) == 40
    assert least_good(25, old=3) == 103
    assert least_good(50, old=1) == 458


def least_good(percent: int, old: int) -> int:
    """Requests without any error that let a step pass, with so many of the old revision for each of the new one."""
    settings = replace(STRICT, steps=("10", "25", "50"))
    states = ((n, at(percent, new=tally(n), old=tally(n * old), settings=settings)) for n in range(20, 1000))
    return next(n for n, state in states if decided(state).percent > percent)


def test_one_of_which_no_request_was_answered_is_rolled_back_at_once():
    decision = decided(at(new=tally(0, 10), old=tally(5), settings=STRICT), after_s=5)
    assert decision.action is RolloutAction.ROLL_BACK
    assert decision.reason.startswith(
        "the new revision has answered no request; 10 of 10 requests failed (before: 0 of 5)"
    )
    assert decided(at(new=tally(0, 9), old=tally(5)), after_s=5).action is RolloutAction.WAIT
    assert decided(at(new=tally(1, 10), old=tally(5)), after_s=5).action is RolloutAction.WAIT
    assert decided(at(new=tally(0, 10), old=tally(1, 5)), after_s=5).action is RolloutAction.WAIT, (
        "the old one fails as well"
    )


def test_a_step_stays_open_while_chance_hardly_explains_the_errors():
    state = looked(at(settings=STRICT), new=tally(30), old=tally(270), times=2)
    suspicious = looked(state, new=tally(29, 1), old=tally(270), times=5)
    decision = decided(suspicious)
    assert decision.action is RolloutAction.WAIT
    assert "may fail more often (by chance, this happens in fewer than 1 of 200 steps)" in decision.reason
    both = looked(state, new=tally(29, 1), old=tally(261, 9), times=5)
    assert decided(both).action is RolloutAction.ADVANCE, "the same number without a suspicion"


# Refusals


def test_broken_images_that_both_refuse_roll_nothing_back():
    state = looked(at(50, settings=STRICT), new=tally(50, refused=50), old=tally(50, refused=50), times=20)
    decision = decided(state, after_s=300)
    assert decision.action is RolloutAction.FINISH
    assert "1,000 of 2,000 requests were refused (4xx) (before: 1,000 of 2,000)" in decision.reason


# Silence


def test_one_that_answers_nothing_while_the_old_one_answers_is_rolled_back():
    silent = at(10, old=tally(900))
    decision = decided(silent, after_s=300)
    assert (decision.action, decision.percent) == (RolloutAction.ROLL_BACK, 0)
    assert decision.reason.startswith("the new revision has answered none of about 100 requests; ")
    assert decided(silent, after_s=299).action is RolloutAction.WAIT, "a first start may be slow"
    assert decided(at(10, old=tally(899)), after_s=300).action is RolloutAction.WAIT
    assert decided(at(50, old=tally(100)), after_s=300).action is RolloutAction.ROLL_BACK
    for counted in (tally(1), tally(0, 1), tally(refused=1)):
        assert decided(at(10, new=counted, old=tally(900)), after_s=300).action is RolloutAction.WAIT
    unread = decide_rollout(silent, seen(silent, pod="403: no"), BEGUN + 300)
    assert unread.action is RolloutAction.WAIT, "a pod that can't be read may have answered"


# Times


def test_one_that_is_too_slow_is_rolled_back_once_it_is_known_how_much_times_vary():
    state = looked(at(), new=tally(5, ms=155), old=tally(45, ms=100), times=7)
    decision = decided(state, after_s=110)
    assert decision.action is RolloutAction.WAIT
    assert "the new revision seems slow; 7 of 8 time windows of 15 s are measured" in decision.reason
    decision = decided(looked(state, new=tally(5, ms=155), old=tally(45, ms=100)), after_s=125)
    assert decision.action is RolloutAction.ROLL_BACK
    assert decision.reason.startswith("the new revision is too slow; 0 of 40 requests failed (before: 0 of 360)")
    assert "155.0 ms (before: 100.0 ms)" in decision.reason
    allowed = looked(at(), new=tally(5, ms=150), old=tally(45, ms=100), times=20)
    assert decided(allowed, after_s=300).action is RolloutAction.ADVANCE


def test_a_few_very_slow_predictions_roll_nothing_back():
    state = looked(at(), new=tally(5, ms=100), old=tally(45, ms=100), times=9)
    state = looked(state, new=tally(5, ms=1500), old=tally(45, ms=100))
    decision = decided(state, after_s=150)
    assert decision.action is RolloutAction.WAIT
    assert "the new revision seems slow, but the times vary too much to decide" in decision.reason
    assert decided(state, after_s=600).action is RolloutAction.HOLD


def test_part_of_the_allowed_ratio_is_tolerated_since_times_are_measured_inexactly():
    state = at()
    for number in range(12):
        state = looked(state, new=tally(5, ms=110 if number % 2 else 200), old=tally(45, ms=100))
    decision = decided(state, after_s=180)
    assert "a prediction takes 155.0 ms (before: 100.0 ms)" in decision.reason
    assert decision.action is RolloutAction.WAIT, "compared with equal times, this would roll back"


def on_nodes(new: dict[str, float], old: dict[str, float]) -> RolloutState:
    """A rollout in which both have made predictions for ten windows; their times in ms by node."""
    state = at()
    for number in range(1, 11):
        totals = {NEW: tally(5 * number), OLD: tally(45 * number)}
        for name, nodes, each in ((NEW, new, 5), (OLD, old, 45)):
            totals[name] = tally(each * len(nodes) * number, ms=sum(nodes.values()) / len(nodes))
            totals |= {f"{name}@{node}": tally(timed=each * number, ms=ms) for node, ms in nodes.items()}
        state = replace(state, counts=replace(state.counts, totals=totals).close_window(BEGUN + 15 * number, BEGUN))
    return state


def test_times_are_compared_within_nodes():
    fast, slow = {"n-1": 100.0}, {"n-2": 200.0}
    both = fast | slow
    apart = decided(on_nodes(slow, fast), after_s=300)
    assert apart.action is RolloutAction.WAIT
    assert "the new revision seems slow, but hardly any node has run both revisions" in apart.reason
    assert decided(on_nodes(slow, fast), after_s=600).action is RolloutAction.HOLD, "never rolled back for that"
    assert decided(on_nodes(fast, slow), after_s=300).action is RolloutAction.ADVANCE
    same = decided(on_nodes(slow, both), after_s=300)
    assert same.action is RolloutAction.ADVANCE
    assert "a prediction takes 200.0 ms (before: 200.0 ms)" in same.reason
    worse = decided(on_nodes({"n-1": 200.0, "n-2": 400.0}, both), after_s=300)
    assert worse.action is RolloutAction.ROLL_BACK
    assert "too slow; 0 of 100 requests failed" in worse.reason
    assert "a prediction takes 300.0 ms (before: 150.0 ms)" in worse.reason


def test_times_are_not_compared_where_either_has_few_and_that_is_reported():
    for state in (
        at(new=tally(20, ms=900)),
        at(new=tally(20, ms=900), old=tally(30, timed=9)),
        at(new=tally(20, ms=900, timed=9), old=tally(100)),
    ):
        decision = decided(state)
        assert decision.action is RolloutAction.ADVANCE
        assert "times are not compared" in decision.reason


# Judges


def test_any_judge_rolls_back_and_each_that_is_undecided_is_waited_for():
    state = at(new=tally(100), old=tally(900))

    def says(finding: AssessmentResult) -> RolloutAction:
        verdict = Assessment(finding=finding, evidence="90 of 100 labels agree", why="labels say so")
        decision = decide_rollout(state, seen(state), BEGUN + 60, (*JUDGES, lambda _: verdict))
        assert "90 of 100 labels agree" in decision.reason
        assert ("labels say so" in decision.reason) == (finding in (AssessmentResult.WORSE, AssessmentResult.OPEN))
        return decision.action

    assert says(AssessmentResult.WORSE) is RolloutAction.ROLL_BACK
    assert says(AssessmentResult.OPEN) is RolloutAction.WAIT
    assert says(AssessmentResult.FINE) is RolloutAction.ADVANCE
    assert says(AssessmentResult.SILENT) is RolloutAction.ADVANCE


def test_labelled_audit_images_roll_back_what_is_worse_and_never_hold_up_what_is_not():
    def decide(images: int, lost: int, gained: int) -> RolloutDecision:
        state = replace(at(new=tally(100), old=tally(900)), audit=AuditCounts(images=images, lost=lost, gained=gained))
        return decide_rollout(state, seen(state), BEGUN + 60)

    worse = decide(40, 17, 1)
    assert worse.action is RolloutAction.ROLL_BACK
    assert worse.reason.startswith(
        "on 40 audit images the new model is wrong on 17 that the old one answered rightly, and right on 1 that it "
        "answered wrongly; 0 of 100 requests failed"
    )
    for images, lost, gained in ((0, 0, 0), (5, 5, 0), (40, 9, 9), (40, 1, 17), (40, 12, 0)):
        assert decide(images, lost, gained).action is RolloutAction.ADVANCE
    assert "on 40 audit images" in decide(40, 9, 9).reason


def test_a_model_as_good_as_the_old_one_is_rarely_rolled_back_by_labels_however_often_they_are_counted():
    chance, wrong = random.Random(7), 0
    for _ in range(400):
        state, counts = at(), AuditCounts()
        for _ in range(150):
            lost = chance.random() < 0.5
            counts = AuditCounts(images=counts.images + 4, lost=counts.lost + lost, gained=counts.gained + (not lost))
            if judge_labels(replace(state, audit=counts)).finding is AssessmentResult.WORSE:
                wrong += 1
                break
    assert wrong <= 4, "1 of 400 is allowed on average"


def test_a_clock_that_goes_back_makes_a_step_longer_and_never_shorter():
    state = at(10, new=tally(1000))
    decision = decide_rollout(state, seen(state), BEGUN - 5000)
    assert decision.action is RolloutAction.WAIT
    plan = plan_decision(state, decision, state.traffic, BEGUN - 5000, ())
    assert plan.state.since == BEGUN - 5000
    assert decide_rollout(plan.state, seen(state), BEGUN - 4941).action is RolloutAction.WAIT
    assert decide_rollout(plan.state, seen(state), BEGUN - 4940).action is RolloutAction.ADVANCE


TALLIES = st.builds(tally, st.integers(0, 60), st.integers(0, 5), ms=st.floats(1, 1000), refused=st.integers(0, 50))
HEALTHS = st.builds(RevisionHealth, name=st.just(NEW), exists=st.booleans(), ready=st.sampled_from([True, False, None]))


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
    percent: int,
    new: RequestCounters,
    old: RequestCounters,
    before: RequestCounters,
    health: RevisionHealth,
    other: RevisionHealth,
    after_s: float,
):
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
        assert new.error_rate <= old.error_rate + 0.2 or percent < 50
    elif decision.percent < percent:
        assert (decision.action, plan.state.phase) in (
            (RolloutAction.ROLL_BACK, RolloutPhase.ROLLED_BACK),
            (RolloutAction.HOLD, RolloutPhase.HELD),
        )
