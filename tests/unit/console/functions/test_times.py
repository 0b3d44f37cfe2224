"""Times of a function's predictions from the history's records."""

import json
from dataclasses import replace

from eaves.console.pages.functions import Times, read_times
from tests.fakes.clock import START
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import build_flow, captured_event, classified_event, record_of


def times_of(count: int, *, latency_s: float = 0.25, every_s: float = 2.0) -> Times:
    flow = build_flow(count, latency_s=latency_s, every_s=every_s, with_images=False)
    return read_times(FakeRecords(flow.records), "flowers", START + count * every_s)


def test_a_time_is_from_the_arrival_of_the_image_to_that_of_the_prediction():
    assert [round(value or 0) for value in times_of(120).percentiles] == [250, 250]
    assert [round(value or 0) for value in times_of(7).percentiles] == [250, 0]


def test_a_percentile_is_the_value_that_so_many_predictions_do_not_exceed():
    records = []
    for number in range(1, 101):
        cause = captured_event(number)
        records += [
            record_of(cause, 2 * number, at=START),
            record_of(classified_event(cause), 2 * number + 1, at=START + number),
        ]
    found = read_times(FakeRecords(records), "flowers", START + 300)
    assert [round(value or 0) for value in found.percentiles] == [50_000, 95_000]


def test_a_call_that_is_answered_directly_has_no_time_between():
    assert times_of(120, latency_s=0.0).percentiles == (None, None)


def test_a_full_window_that_is_shorter_than_an_hour_says_so():
    flow = build_flow(60, every_s=120, with_images=False)
    records, now = FakeRecords(flow.records), START + 60 * 120
    assert read_times(records, "flowers", now, window=20).rate == "20+ in the last hour"
    assert read_times(records, "flowers", now, window=40).rate == "30 in the last hour"


def test_times_that_are_no_numbers_or_cut_off_are_left_out():
    cause = captured_event(1)
    good = record_of(classified_event(cause), 2, at=START + 1)
    hostile = {"decode": "x", "infer": -1, "preprocess": True, "postprocess": 1e400, "<b>": 2.5}
    texts = [json.dumps({"timings_ms": hostile}), good.text[:-5], json.dumps({"timings_ms": 7}), ""]
    replies = [replace(good, text=text, seq=number) for number, text in enumerate(texts, 2)]
    found = read_times(FakeRecords([record_of(cause, 1, at=START), *replies]), "flowers", START + 2)
    assert found.rate == "4 in the last hour"
