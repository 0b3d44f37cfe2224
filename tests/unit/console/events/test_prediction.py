"""Predictions as the history recorded them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from eaves.console.model.prediction import build_row, parse_prediction
from eaves.history import MAX_TEXT, Record
from tests.fakes.console.material import TIMINGS_MS, captured_event, classified_event, record_of, rejected_event


def record(text: str | None = None, **extensions: str) -> Record:
    found = record_of(classified_event(captured_event(), score=0.94), 7)
    if text is None:
        return found
    return replace(found, text=text, extensions=extensions)


def test_a_prediction_is_read_whole() -> None:
    found = parse_prediction(record())
    assert (found.label, found.score, found.confidence) == ("rose", 0.94, "high")
    assert [one.label for one in found.ranked][:2] == ["rose", "daisy"]
    assert (found.model, found.version) == ("flowers", "3")
    assert found.timings_ms == TIMINGS_MS
    assert found.total_ms == pytest.approx(sum(TIMINGS_MS.values()))


def test_a_text_that_was_cut_off_keeps_its_first_labels() -> None:
    many = [{"label": f'label {number}, "[{{', "score": 0.5 / (number + 1)} for number in range(200)]
    text = json.dumps({"predictions": many})[:MAX_TEXT]
    found = parse_prediction(record(text, label='label 0, "[{'))
    assert len(found.ranked) == 20
    assert found.score == 0.5
    assert found.timings_ms == {}


@pytest.mark.parametrize(
    "text",
    ["", '{"predictions": [[1], {"label": 3}]}', '{"timings_ms": [1]}', "[" * 5_000],
)  # fmt: skip
def test_foreign_texts_are_no_error(text: str) -> None:
    found = parse_prediction(record(text))
    assert (found.label, found.score, found.ranked, found.model, found.total_ms) == ("", None, (), "", None)


def test_numbers_that_are_none_are_left_out() -> None:
    text = '{"predictions": [{"label": "a", "score": true}, {"label": "b", "score": NaN}, {"label": "c", "score": 7}],'
    text += '"timings_ms": {"decode": 1, "infer": "2", "x": -1, "y": Infinity}}'
    found = parse_prediction(record(text))
    assert [one.score for one in found.ranked] == [None, None, None]
    assert found.timings_ms == {"decode": 1.0}


def test_a_row_names_source_and_file() -> None:
    row = build_row(record_of(classified_event(captured_event(subject="2026/shift-2/a.jpg"), score=0.61), 7))
    assert (row.title, row.is_label, row.source, row.file) == ("rose", True, "camera-1", "a.jpg")
    assert (row.score, row.confidence) == (0.61, "low")
    assert row.picture.startswith("7-")
    assert row.took_ms == pytest.approx(sum(TIMINGS_MS.values()))


def test_rows_without_a_label_say_what_they_are() -> None:
    cause = captured_event()
    assert build_row(record_of(cause, 1)).title == "Image captured"
    assert build_row(record_of(rejected_event(cause), 2)).title == "Image refused"
    assert build_row(record_of(classified_event(cause, label=""), 2)).title == "No label is likely enough"
    odd = replace(record_of(cause, 1), type="com.example.thing")
    assert (build_row(odd).title, build_row(odd).picture) == ("com.example.thing", "")
