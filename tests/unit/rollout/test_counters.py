"""Counting over pods that come, go, and start again."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.rollout.counters import (
    LONG_S,
    MetricsReading,
    RequestCounters,
    RevisionCounts,
    StepWindows,
    WindowTimes,
    accumulate,
)

NEW, OLD = "a-2", "a-1"


def said(pod: str, *, answered: int = 0, restarts: int = 0, **more: Any) -> MetricsReading:
    """A pod whose predictions take 0.1 s each, the first one 1 s."""
    tally = RequestCounters(answered=answered, timed=answered, seconds=0.1 * answered + (0.9 if answered else 0))
    slowest = RequestCounters(timed=1, seconds=1.0) if answered else RequestCounters()
    return MetricsReading(pod=pod, revision=NEW, restarts=restarts, tally=tally, slowest=slowest, **more)


def see(counts: RevisionCounts, *readings: MetricsReading, also: tuple[str, ...] = ()) -> RevisionCounts:
    return accumulate(counts, readings, [reading.pod for reading in readings] + list(also))


def test_a_process_that_starts_again_counts_from_zero():
    counts = see(RevisionCounts(), said("p", answered=30))
    assert see(counts, said("p", answered=2)).total(NEW).answered == 32, "it counts less than before"
    assert see(counts, said("p", answered=40, restarts=1)).total(NEW).answered == 70, "its pod says so"


def test_a_crash_is_a_failed_request_and_an_end_with_the_node_is_none():
    counts = see(RevisionCounts(), said("p", answered=3))
    assert see(counts, said("p", restarts=2, crashed=True)).total(NEW).failed == 2
    assert see(counts, said("p", restarts=2, crashed=False)).total(NEW).failed == 0
    assert see(RevisionCounts(), said("p", restarts=7, crashed=True)).total(NEW).failed == 1, (
        "nobody knows how the others ended"
    )


def test_the_first_prediction_of_each_process_is_left_out_of_the_times():
    counts = see(RevisionCounts(), said("p", answered=5))
    assert counts.total(NEW).timed == 4
    assert counts.total(NEW).mean_ms == pytest.approx(100)
    counts = see(counts, said("p", answered=9))
    assert counts.total(NEW).timed == 8
    assert counts.total(NEW).mean_ms == pytest.approx(100)
    counts = see(counts, said("p", answered=3, restarts=1), said("q", answered=1))
    assert counts.total(NEW).timed == 10
    assert counts.total(NEW).mean_ms == pytest.approx(100)
    counts = see(RevisionCounts(), said("p"))
    assert see(counts, said("p", answered=2)).total(NEW).timed == 1, "seen before it had answered any"


def test_what_a_pod_counted_before_the_step_that_could_not_be_read_then_is_not_of_the_step():
    counts = see(RevisionCounts(), also=("p",)).begin_step(["p"])
    counts = see(counts, said("p", answered=50))
    assert (counts.total(NEW).answered, counts.step(NEW).answered) == (50, 0)
    assert see(counts, said("p", answered=52)).step(NEW).answered == 2


def agent(answered: int, spool: str = "a1b2") -> MetricsReading:
    return MetricsReading(pod=f"{spool}/{NEW}", revision=NEW, tally=RequestCounters(answered=answered))


def test_what_an_agent_counted_before_it_was_first_asked_does_not_count():
    counts = see(see(RevisionCounts(), agent(1000)), agent(1007))
    assert counts.total(NEW).answered == 7
    counts = see(counts, agent(500, "c3d4"))
    assert see(counts, agent(502, "c3d4")).total(NEW).answered == 9, (
        "a node that came back, or a spool that was replaced"
    )


def test_an_agent_that_was_away_catches_up_and_a_spool_that_counts_from_zero_again_is_added():
    counts = see(see(RevisionCounts(), agent(0)), agent(5))
    counts = see(see(counts, said("p")), said("p"))
    assert see(counts, agent(45)).total(NEW).answered == 45
    assert see(counts, agent(3)).total(NEW).answered == 8


def test_times_are_kept_by_node_without_other_counts():
    counts = see(RevisionCounts(), said("p", answered=5, node="n-1"), said("q", answered=3, node="n-2"))
    assert counts.total(NEW) == RequestCounters(answered=8, timed=6, seconds=0.6)
    assert counts.total(f"{NEW}@n-1") == RequestCounters(timed=4, seconds=0.4)
    assert counts.pairs(NEW, OLD) == [(f"{NEW}@n-1", f"{OLD}@n-1"), (f"{NEW}@n-2", f"{OLD}@n-2")]
    assert see(RevisionCounts(), said("p", answered=5)).pairs(NEW, OLD) == [(NEW, OLD)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["p", "q", "r"]), st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=30
    )
)
def test_totals_are_what_was_answered_whatever_pods_do(events: list[tuple[str, int, int, bool]]):
    """Each event: a pod answers and fails some; then perhaps its process starts again."""
    counts, truth = RevisionCounts(), RequestCounters()
    pods: dict[str, MetricsReading] = {}
    for pod, answered, failed, restart in events:
        before = pods.get(pod) or said(pod)
        tally = before.tally + RequestCounters(answered=answered, failed=failed)
        pods[pod] = replace(before, tally=tally)
        truth += RequestCounters(answered=answered, failed=failed)
        counts = accumulate(counts, pods.values(), pods)
        if restart:
            pods[pod] = MetricsReading(pod=pod, revision=NEW, restarts=before.restarts + 1)
    assert (counts.total(NEW).answered, counts.total(NEW).failed) == (truth.answered, truth.failed)


NEW, OLD = "a-2", "a-1"
BEGUN = 1000.0


def counted(counts: RevisionCounts, at: float, *, failed: int = 0, old_failed: int = 0) -> RevisionCounts:
    """Ten requests of the new revision and a hundred of the old one more."""
    gained = {
        NEW: RequestCounters(answered=10 - failed, failed=failed),
        OLD: RequestCounters(answered=100 - old_failed, failed=old_failed),
    }
    totals = {name: counts.total(name) + tally for name, tally in gained.items()}
    return replace(counts, totals=totals).close_window(at, BEGUN)


def test_the_two_windows_with_the_most_failures_are_left_out_for_both_revisions():
    counts = RevisionCounts()
    for number, failed in enumerate((0, 3, 1, 2, 0)):
        counts = counted(counts, BEGUN + 15 * (number + 1), failed=failed, old_failed=7 * (number == 4))
    assert counts.steady(NEW, OLD, apart_from=NEW) == (
        RequestCounters(answered=29, failed=1),
        RequestCounters(answered=293, failed=7),
    )
    assert counts.steady(NEW, OLD, apart_from=OLD) == (
        RequestCounters(answered=34, failed=6),
        RequestCounters(answered=400),
    )


def test_the_open_window_may_be_one_of_them():
    counts = RevisionCounts()
    for number in range(3):
        counts = counted(counts, BEGUN + 15 * (number + 1), failed=1)
    counts = counted(counts, BEGUN + 46, failed=9)
    assert counts.window()[NEW].failed == 9
    assert counts.steady(NEW, OLD, apart_from=NEW)[0] == RequestCounters(answered=18, failed=2)


def test_a_window_of_hours_is_no_incident_that_is_left_out():
    for length, left_out in ((LONG_S, 3), (LONG_S + 1, 0)):
        counts = counted(RevisionCounts(), BEGUN + length, failed=3)
        assert counts.step(NEW).failed - counts.steady(NEW, OLD, apart_from=NEW)[0].failed == left_out


def test_a_window_lasts_its_time_and_until_a_request_came():
    counts = counted(RevisionCounts(), BEGUN + 14)
    assert counts.windows == StepWindows()
    counts = counts.close_window(BEGUN + 15, BEGUN)
    assert counts.windows.since == BEGUN + 15
    assert counts.close_window(BEGUN + 900, BEGUN) is counts, "nothing is written while nothing comes"


def test_a_clock_that_goes_back_makes_a_window_longer():
    counts = counted(RevisionCounts(), BEGUN + 20, failed=2)
    counts = counted(counts, BEGUN - 500, failed=1)
    assert counts.window()[NEW].failed == 1
    assert counts.close_window(BEGUN - 490, BEGUN - 500).window()[NEW].failed == 1
    assert counts.close_window(BEGUN - 485, BEGUN - 500).window()[NEW].failed == 0


def test_the_variance_of_a_mean_is_measured_from_window_to_window():
    times = WindowTimes()
    for seconds in (1.0, 3.0, 1.0, 3.0):
        times = times.add(RequestCounters(answered=10, timed=10, seconds=seconds)).add(RequestCounters(answered=1))
    assert (times.windows, times.mean_s) == (4, 0.2)
    # Means 0.1 and 0.3 of ten predictions: variance 0.0133, of four of them together a quarter.
    assert times.variance_of_mean == pytest.approx(0.04 / 3 / 4)
