"""How much is sent at once, how long it may take, and how old what waits is."""

from __future__ import annotations

from eaves.relay.backlog_age import BacklogAge
from eaves.relay.link_speed import (
    ANSWER_S,
    FIRST_BYTES,
    MAX_BYTES,
    MAX_EVENTS,
    MIN_BYTES,
    MIN_MAX_EVENTS,
    BatchSize,
    Throughput,
    ThroughputSample,
)


def sample(ended_at: float, *, took_s: float = 1.0, wire_bytes: int = 100_000) -> ThroughputSample:
    return ThroughputSample(ended_at=ended_at, took_s=took_s, events=100, stored_bytes=400_000, wire_bytes=wire_bytes)


def test_a_batch_grows_while_it_is_full_and_quick() -> None:
    size = BatchSize()
    for _ in range(10):
        size.succeeded(0.1, 90, size.max_bytes - 100)
    assert size.max_bytes == MAX_BYTES


def test_a_batch_that_was_not_full_says_nothing_about_a_larger_one() -> None:
    size = BatchSize()
    for _ in range(10):
        size.succeeded(0.01, 1, 700)
    assert size.max_bytes == FIRST_BYTES


def test_a_slow_request_makes_the_next_one_take_two_seconds() -> None:
    size = BatchSize()
    size.succeeded(16.0, 1, 160_000)
    assert size.max_bytes == 20_000
    size.succeeded(1.6, 20, 20_000)
    assert size.max_bytes == 25_000


def test_failures_lead_down_to_one_event_and_successes_up_again() -> None:
    size = BatchSize()
    events = MAX_EVENTS
    while events > 1:
        size.failed(events, events * 900)
        assert size.max_events == events // 2
        events = size.max_events
    assert size.max_bytes == MIN_BYTES
    for _ in range(11):
        size.succeeded(0.05, min(size.max_events, size.max_bytes // 900), size.max_bytes)
    assert size.max_events > 500


def test_what_was_too_large_once_is_not_tried_again() -> None:
    size = BatchSize()
    size.too_large(100, 800_000)
    for _ in range(10):
        size.succeeded(0.1, 50, size.max_bytes)
    assert size.max_bytes == 400_000


def test_what_was_too_many_once_is_not_tried_again_and_two_pictures_are_no_reason_to_send_one_by_one() -> None:
    size = BatchSize()
    size.too_large(1_000, 80_000)
    for _ in range(10):
        size.succeeded(0.1, size.max_events, size.max_bytes)
    assert size.max_events == 500
    size.too_large(2, 80_000)
    for _ in range(10):
        size.succeeded(0.1, size.max_events, size.max_bytes)
    assert size.max_events == MIN_MAX_EVENTS


def test_rates_are_those_of_the_time_in_which_something_was_sent() -> None:
    throughput = Throughput()
    assert throughput.rates() is None
    throughput.add(sample(10.0))
    throughput.add(sample(50.0, took_s=3.0))
    assert throughput.rates() == (50.0, 200_000.0, 50_000.0)
    throughput.add(sample(110.0, took_s=3.0))
    assert throughput.rates() == (200 / 6, 800_000 / 6, 200_000 / 6)
    throughput.add(sample(1_000.0))
    assert throughput.rates() == (100.0, 400_000.0, 100_000.0)


def test_a_request_may_take_four_times_as_long_as_the_link_took_before() -> None:
    throughput = Throughput()
    assert throughput.limit_s(80_000) == ANSWER_S + 40
    throughput.add(sample(1.0))
    assert throughput.limit_s(100_000) == ANSWER_S + 4
    throughput.stalled()
    assert throughput.limit_s(100_000) == ANSWER_S + 16
    for _ in range(9):
        throughput.stalled()
    assert throughput.limit_s(1_000) == ANSWER_S + 4  # never as slow as to wait for ever


def test_an_age_grows_with_the_monotonic_clock_alone() -> None:
    age = BacklogAge()
    assert age.update(None, now=5.0, monotonic=1.0) is None
    assert age.update(1_000.0, now=1_010.0, monotonic=1.0) == 10
    assert age.update(1_000.0, now=90_000.0, monotonic=4.0) == 13  # set forth
    assert age.update(1_000.0, now=10.0, monotonic=5.0) == 14  # set back
    assert age.update(1_002.0, now=1_015.0, monotonic=6.0) == 13
    assert age.update(1_003.0, now=99_999.0, monotonic=7.0) == 14  # no older than the one before it
    assert age.update(None, now=99_999.0, monotonic=8.0) is None
    assert age.update(99_000.0, now=98_000.0, monotonic=9.0) == 0
