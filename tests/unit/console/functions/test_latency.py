"""Latencies of a function from the records of its predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from eaves.console.model.functions import Latency, StageLatency, build_latency, read_latency
from tests.fakes.clock import START
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import TIMINGS_MS, build_flow, captured_event, classified_event, record_of

IN_FUNCTION_MS = sum(TIMINGS_MS.values())


def latency_of(count: int, *, latency_s: float = 0.25, every_s: float = 2.0) -> Latency:
    flow = build_flow(count, latency_s=latency_s, every_s=every_s, with_images=False)
    return read_latency(FakeRecords(flow.records), "flowers", START + count * every_s)


def total_of(found: Latency) -> StageLatency:
    assert found.total is not None
    return found.total


def test_the_time_outside_the_function_is_waiting() -> None:
    times = {stage.name: stage for stage in latency_of(120).stages}
    assert list(times) == [
        *("waiting", "decode", "preprocess", "infer", "postprocess"),
        *("in the function", "image to prediction"),
    ]
    assert times["infer"].p95_ms == TIMINGS_MS["infer"]
    assert times["in the function"].p50_ms == pytest.approx(IN_FUNCTION_MS)
    assert times["image to prediction"].p99_ms == pytest.approx(250, abs=0.1)
    assert times["waiting"].p50_ms == pytest.approx(250 - IN_FUNCTION_MS, abs=0.1)


def test_a_percentile_is_the_value_that_so_many_predictions_do_not_exceed() -> None:
    flow = build_flow(100, with_images=False)
    predicted = [record for record in flow.records if record.type.endswith("classified.v1")]
    arrivals = {record.seq: record.at - number for number, record in enumerate(predicted, 1)}
    found = build_latency(predicted, arrivals, START + 300)
    total = total_of(found)
    assert [round(value or 0) for value in (total.p50_ms, total.p95_ms, total.p99_ms)] == [50_000, 95_000, 99_000]


def test_percentiles_of_too_few_predictions_are_left_out() -> None:
    found = latency_of(7)
    assert found.predictions == 7
    assert total_of(found).p50_ms is not None
    assert (total_of(found).p95_ms, total_of(found).p99_ms) == (None, None)
    assert found.too_few == "only 7 predictions: too few for p95 and p99"
    assert total_of(latency_of(3)).p50_ms is None
    assert (latency_of(100).too_few, Latency().too_few) == ("", "")


def test_a_full_window_that_is_shorter_than_an_hour_says_so() -> None:
    flow = build_flow(60, every_s=120, with_images=False)
    records, now = FakeRecords(flow.records), START + 60 * 120
    short = read_latency(records, "flowers", now, window=20)
    assert (short.rate, short.is_full) == ("20 in the last 39 minutes", True)
    long = read_latency(records, "flowers", now, window=40)
    assert (long.rate, long.is_full) == ("30 in the last hour", True)


def test_times_that_are_no_numbers_or_cut_off_are_left_out() -> None:
    cause = captured_event(1)
    good = record_of(classified_event(cause), 2, at=START + 1)
    hostile = {"decode": "x", "infer": -1, "preprocess": True, "postprocess": 1e400, "<b>": 2.5}
    texts = [json.dumps({"timings_ms": hostile}), good.text[:-5], json.dumps({"timings_ms": 7}), ""]
    found = build_latency([replace(good, text=text) for text in texts], {}, START)
    assert [(stage.name, stage.meaning) for stage in found.stages[:-2]] == [("<b>", "")]
    assert found.predictions == 4
