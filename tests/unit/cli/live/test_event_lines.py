"""A line for an event fits the terminal, and no event can steer it."""

from __future__ import annotations

import json

import pytest

from eaves.cli.live.event_lines import format_prediction, format_record
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.history import Record

ID = "3f2a91c0" + "0" * 24


def record(*, subject: str = "photos/roses/1.jpg", label: str = "roses", type_: str = IMAGE_CLASSIFIED) -> Record:
    data = json.dumps({"predictions": [{"label": label, "score": 0.934}]}) if type_ == IMAGE_CLASSIFIED else ""
    return Record(
        seq=1, at=0.0, id=ID, type=type_, source="/eaves/home/flowers", subject=subject, extensions={},
        size_bytes=1, text=data,
    )  # fmt: skip


def test_a_line_has_time_type_label_score_subject_and_the_beginning_of_the_id() -> None:
    words = format_record(record(), 120).split()
    assert words[1:] == ["image.classified.v1", "roses", "0.93", "photos/roses/1.jpg", "3f2a91c0"]


@pytest.mark.parametrize("subject", ["a.jpg", "photos/" * 30 + "end.jpg", "写真/" * 30 + "end.jpg"])
@pytest.mark.parametrize("type_", [IMAGE_CAPTURED, IMAGE_CLASSIFIED])
def test_a_line_fits_80_columns_and_keeps_the_end_of_a_path(subject: str, type_: str) -> None:
    line = format_record(record(subject=subject, type_=type_), 80)
    assert len(line) <= 80
    assert subject[-5:] in line
    assert line.endswith("3f2a91c0")


def test_off_a_terminal_nothing_is_cut() -> None:
    subject = "photos/" * 30 + "end.jpg"
    assert subject in format_record(record(subject=subject), None)


def test_no_event_can_steer_the_terminal_or_begin_a_second_line() -> None:
    hostile = "\x1b[2J\nroses\u202e"
    line = format_record(record(subject=hostile, label=hostile, type_=IMAGE_CLASSIFIED), 200)
    shown = format_prediction(0.0, f"/eaves/home/{hostile}", hostile, hostile, {"label": hostile, "score": 1}, 200)
    for text in (line, shown):
        assert not {"\x1b", "\n", "\u202e"} & set(text)


def test_a_score_that_is_no_share_is_left_out() -> None:
    words = format_prediction(0.0, "/eaves/home/f", IMAGE_CLASSIFIED, "a.jpg", {"label": "x", "score": 10**400}, 80)
    assert words.split()[1:] == ["f", "x", "a.jpg"]


def test_a_prediction_without_a_label_shows_its_type() -> None:
    words = format_prediction(0.0, "/eaves/home/flowers", "dev.eaves.image.embedded.v1", "a.jpg", {}, None).split()
    assert words[1:] == ["flowers", "image.embedded.v1", "a.jpg"]


@pytest.mark.parametrize(
    "text", ["{", "[" * 2_000, "3", '{"predictions": {"0": 1}}', '{"predictions": [{"score": "x"}]}']
)
def test_data_that_is_no_prediction_shows_no_label(text: str) -> None:
    found = Record(
        seq=1, at=0.0, id=ID, type=IMAGE_CLASSIFIED, source="", subject="a.jpg", extensions={}, size_bytes=1, text=text
    )
    assert format_record(found, None).split()[1:] == ["image.classified.v1", "a.jpg", "3f2a91c0"]
