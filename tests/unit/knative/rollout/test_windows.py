"""What is kept of a step's windows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knative.rollout.counters import (
    MetricsReading,
    RequestCounters,
    RevisionCounts,
    StepWindows,
    WindowTimes,
    accumulate,
)

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


def test_the_two_windows_with_the_most_failures_are_left_out_for_both_revisions() -> None:
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


def test_the_open_window_may_be_one_of_them() -> None:
    counts = RevisionCounts()
    for number in range(3):
        counts = counted(counts, BEGUN + 15 * (number + 1), failed=1)
    counts = counted(counts, BEGUN + 46, failed=9)
    assert counts.window()[NEW].failed == 9
    assert counts.steady(NEW, OLD, apart_from=NEW)[0] == RequestCounters(answered=18, failed=2)


def test_a_window_lasts_its_time_and_until_a_request_came() -> None:
    counts = counted(RevisionCounts(), BEGUN + 14)
    assert counts.windows == StepWindows()
    counts = counts.close_window(BEGUN + 15, BEGUN)
    assert counts.windows.since == BEGUN + 15
    assert counts.close_window(BEGUN + 900, BEGUN) is counts, "nothing is written while nothing comes"


def test_a_clock_that_goes_back_makes_a_window_longer() -> None:
    counts = counted(RevisionCounts(), BEGUN + 20, failed=2)
    counts = counted(counts, BEGUN - 500, failed=1)
    assert counts.window()[NEW].failed == 1
    assert counts.close_window(BEGUN - 490, BEGUN - 500).window()[NEW].failed == 1
    assert counts.close_window(BEGUN - 485, BEGUN - 500).window()[NEW].failed == 0


def test_what_a_pod_counted_before_it_could_be_read_is_in_no_window() -> None:
    counts = counted(RevisionCounts(), BEGUN + 20).begin_step(["p"])
    counts = counted(counts, BEGUN + 40)
    reading = MetricsReading(pod="p", revision=NEW, tally=RequestCounters(answered=500, failed=50))
    counts = accumulate(counts, [reading], ["p"])
    assert counts.window()[NEW] == RequestCounters()
    assert counts.step(NEW) == RequestCounters(answered=10)


def test_the_variance_of_a_mean_is_measured_from_window_to_window() -> None:
    times = WindowTimes()
    for seconds in (1.0, 3.0, 1.0, 3.0):
        times = times.add(RequestCounters(answered=10, timed=10, seconds=seconds)).add(RequestCounters(answered=1))
    assert (times.windows, times.mean_s) == (4, 0.2)
    # Means 0.1 and 0.3 of ten predictions: variance 0.0133, of four of them together a quarter.
    assert times.variance_of_mean == pytest.approx(0.04 / 3 / 4)
