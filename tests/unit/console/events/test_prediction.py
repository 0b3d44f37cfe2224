"""Predictions as the history recorded them."""

import json
from dataclasses import replace

import pytest

from eaves.history import Record
from eaves.history.record import parse_prediction
from tests.fakes.console.material import (
    BOXES,
    INSPECTION,
    TIMINGS_MS,
    captured_event,
    classified_event,
    inspected_event,
    record_of,
)


def record(text: str | None = None, **extensions: str) -> Record:
    found = record_of(classified_event(captured_event(), score=0.94), 7)
    if text is None:
        return found
    return replace(found, text=text, extensions=extensions)


def test_a_prediction_is_read_whole():
    found = parse_prediction(record())
    assert (found.label, found.score, found.confidence) == ("rose", 0.94, "high")
    assert [one.label for one in found.ranked][:2] == ["rose", "daisy"]
    assert (found.model, found.version) == ("flowers", "3")
    assert found.timings_ms == TIMINGS_MS
    assert found.total_ms == pytest.approx(sum(TIMINGS_MS.values()))


def test_the_label_of_the_event_counts_before_that_of_its_data():
    found = parse_prediction(replace(record(), extensions={"label": "daisy"}))
    assert (found.label, found.ranked[0].label) == ("daisy", "rose")


def test_an_inspection_is_read_whole():
    found = parse_prediction(record_of(inspected_event(captured_event()), 7))
    assert (found.label, found.score, found.threshold, found.p_value) == ("anomalous", 5.125, 4.0, 0.012345)
    assert found.boxes == BOXES
    assert (found.confidence, found.ranked) == ("low", ())


@pytest.mark.parametrize(
    ("changes", "score", "boxes"),
    [
        ({"boxes": [[0, 0, 1, 2, 3], [0, 0, 1, 1], "x", 3, [0, 0, 1, 1, "5"], [0, 0, 1, 1, 5]]}, 5.125, 1),
        ({"boxes": {"a": 1}}, 5.125, 0),
        ({"boxes": [[0, 0, 1, 1, 5]] * 100}, 5.125, 20),
        ({"p_value": 1e999}, None, 0),
        ({"threshold": True}, None, 0),
        ({"score": "5"}, None, 0),
    ],
)
def test_what_is_no_inspection_has_neither_score_nor_boxes(changes: dict[str, object], score: float | None, boxes: int):
    found = parse_prediction(record(json.dumps({**INSPECTION, **changes})))
    assert (found.label, found.score, len(found.boxes)) == ("anomalous", score, boxes)
    assert (found.threshold is None) == (found.p_value is None) == (score is None)


@pytest.mark.parametrize(
    "text",
    ["", '{"predictions": [[1], {"label": 3}]}', '{"timings_ms": [1]}', "[" * 5_000],
)  # fmt: skip
def test_foreign_texts_are_no_error(text: str):
    found = parse_prediction(record(text))
    assert (found.label, found.score, found.ranked, found.model, found.total_ms) == ("", None, (), "", None)


def test_numbers_that_are_none_are_left_out():
    text = '{"predictions": [{"label": "a", "score": true}, {"label": "b", "score": NaN}, {"label": "c", "score": 7}],'
    text += '"timings_ms": {"decode": 1, "infer": "2", "x": -1, "y": Infinity}}'
    found = parse_prediction(record(text))
    assert [one.score for one in found.ranked] == [None, None, None]
    assert found.timings_ms == {"decode": 1.0}
