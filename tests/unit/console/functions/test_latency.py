"""Latencies of a function from the records of its predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from eaves.console.pages.functions import IN_FUNCTION, STAGES, TOTAL, Latency, build_latency, read_latency
from tests.fakes.clock import START
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import TIMINGS_MS, build_flow, captured_event, classified_event, record_of

IN_FUNCTION_MS = sum(TIMINGS_MS.values())


def latency_of(count: int, *, latency_s: float = 0.25, every_s: float = 2.0) -> Latency:
    flow = build_flow(count, latency_s=latency_s, every_s=every_s, with_images=False)
    return read_latency(FakeRecords(flow.records), "flowers", START + count * every_s)


def test_the_time_outside_the_function_is_waiting() -> None:
    times = latency_of(120).stages
    assert list(times) == [*STAGES, IN_FUNCTION, TOTAL]
    assert times["infer"][1] == TIMINGS_MS["infer"]
    assert times[IN_FUNCTION][0] == pytest.approx(IN_FUNCTION_MS)
    assert times[TOTAL][2] == pytest.approx(250, abs=0.1)
    assert times["waiting"][0] == pytest.approx(250 - IN_FUNCTION_MS, abs=0.1)


def test_a_percentile_is_the_value_that_so_many_predictions_do_not_exceed() -> None:
    flow = build_flow(100, with_images=False)
    predicted = [record for record in flow.records if record.type.endswith("classified.v1")]
    arrivals = {record.seq: record.at - number for number, record in enumerate(predicted, 1)}
    found = build_latency(predicted, arrivals, START + 300)
    assert [round(value or 0) for value in found.total] == [50_000, 95_000, 99_000]
    few = latency_of(7)
    assert [value is None for value in few.total] == [False, True, True]
    assert few.too_few == "only 7 predictions: too few for p95 and p99"


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
    assert list(found.stages) == ["<b>", IN_FUNCTION, TOTAL]
    assert found.predictions == 4
