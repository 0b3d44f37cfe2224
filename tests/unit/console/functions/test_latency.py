"""Latencies of a function from the records of its predictions."""

from __future__ import annotations

import json

from eaves.console.model.functions.latency import HOUR_S, Latency, build_latency, read_latency
from eaves.console.model.functions.latency_cache import IDLE_S, MAX_AGE_S, LatencyCache
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import TIMINGS_MS, build_flow, captured_event, classified_event, record_of

IN_FUNCTION_MS = sum(TIMINGS_MS.values())


def latency_of(count: int, *, latency_s: float = 0.25, every_s: float = 2.0) -> Latency:
    flow = build_flow(count, latency_s=latency_s, every_s=every_s, with_images=False)
    return read_latency(FakeRecords(flow.records), "flowers", START + count * every_s)


def test_the_time_outside_the_function_is_waiting() -> None:
    found = latency_of(120)
    times = {stage.name: stage.times for stage in found.stages}
    assert list(times) == ["waiting", "decode", "preprocess", "infer", "postprocess"]
    assert times["infer"].p95_ms == TIMINGS_MS["infer"]
    assert found.model.p50_ms is not None
    assert abs(found.model.p50_ms - IN_FUNCTION_MS) < 1e-6
    assert found.total.p99_ms is not None
    assert abs(found.total.p99_ms - 250) < 0.1
    assert times["waiting"].p50_ms is not None
    assert abs(times["waiting"].p50_ms - (250 - IN_FUNCTION_MS)) < 0.1


def test_a_percentile_is_the_value_that_so_many_predictions_do_not_exceed() -> None:
    flow = build_flow(100, with_images=False)
    predicted = [record for record in flow.records if record.type.endswith("classified.v1")]
    arrivals = {record.seq: record.at - number for number, record in enumerate(predicted, 1)}
    found = build_latency(predicted, arrivals, START + 300)
    assert [round(value or 0) for value in (found.total.p50_ms, found.total.p95_ms, found.total.p99_ms)] == [
        50_000, 95_000, 99_000,
    ]  # fmt: skip


def test_percentiles_of_too_few_predictions_are_left_out() -> None:
    found = latency_of(7)
    assert found.predictions == 7
    assert found.total.p50_ms is not None
    assert (found.total.p95_ms, found.total.p99_ms) == (None, None)
    assert found.too_few == (95, 99)
    assert latency_of(3).total.p50_ms is None
    assert latency_of(100).too_few == ()


def test_a_full_window_that_is_shorter_than_an_hour_says_so() -> None:
    flow = build_flow(60, every_s=120, with_images=False)
    records, now = FakeRecords(flow.records), START + 60 * 120
    assert read_latency(records, "flowers", now, window=60).last_hour == 30
    short = read_latency(records, "flowers", now, window=20)
    assert (short.last_hour, short.is_full, short.is_hour_known) == (20, True, False)
    long = read_latency(records, "flowers", now, window=40)
    assert (long.last_hour, long.is_full, long.is_hour_known) == (30, True, True)
    assert read_latency(records, "flowers", now + 2 * HOUR_S).last_hour == 0


def test_predictions_of_another_function_and_of_a_camera_with_the_same_name_do_not_count() -> None:
    cause = captured_event(1, source="flowers")
    other = classified_event(cause, function="screws")
    records = FakeRecords([record_of(cause, 1), record_of(other, 2, at=START + 1)])
    assert read_latency(records, "flowers", START + 2) == Latency()


def test_a_direct_call_whose_image_arrived_with_the_answer_has_no_total() -> None:
    cause = captured_event(1)
    records = FakeRecords([record_of(cause, 1), record_of(classified_event(cause), 2, at=START + 0.001)])
    found = read_latency(records, "flowers", START + 2)
    assert found.total.count == 0
    assert found.model.count == 1


def test_times_that_are_no_numbers_or_cut_off_are_left_out() -> None:
    cause = captured_event(1)
    good = record_of(classified_event(cause), 2, at=START + 1)
    hostile = {"decode": "x", "infer": -1, "preprocess": True, "postprocess": 1e400, "<b>": 2.5}
    texts = [json.dumps({"timings_ms": hostile}), good.text[:-5], "[[[", json.dumps({"timings_ms": 7}), ""]
    fields = {name: getattr(good, name) for name in ("id", "type", "source", "subject", "extensions", "size_bytes")}
    predicted = [type(good)(seq=2 + index, at=START, text=text, **fields) for index, text in enumerate(texts)]
    found = build_latency(predicted, {}, START)
    assert [(stage.name, stage.times.count, stage.meaning) for stage in found.stages] == [("<b>", 1, "")]
    assert found.predictions == 5


def test_latencies_are_kept_while_pages_ask_and_computed_again_after_news() -> None:
    clock, records = ManualClock(), FakeRecords(build_flow(3, with_images=False).records)
    cache = LatencyCache(records, clock)
    first = cache.read("flowers")
    records.kept += [record_of(one, 7 + at) for at, one in enumerate(build_flow(5, with_images=False).events[6:])]
    assert cache.read("flowers") is first
    clock.turn(MAX_AGE_S)
    news = cache.read("flowers")
    assert news.predictions == 5
    clock.turn(IDLE_S - 1)
    assert cache.read("flowers") is news
    clock.turn(1)
    assert cache.read("flowers") is not news
