"""A filter finds in the file what it matches in Python."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.history import FileHistory, HistoryReader, RecordFilter
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.material import build_flow, captured_event, classified_event

HOSTILE = "'; DROP TABLE records; -- \"<script>\\u0041\n\t%_\\"

FILTERS = {
    "everything": RecordFilter(),
    "one type": RecordFilter(types=(IMAGE_CAPTURED,)),
    "two types": RecordFilter(types=(IMAGE_CAPTURED, IMAGE_CLASSIFIED)),
    "a label": RecordFilter(label="rose"),
    "a label that is the start of another": RecordFilter(label="ros"),
    "a label that is another attribute's value": RecordFilter(label="flowers"),
    "a hostile label": RecordFilter(label=HOSTILE),
    "a label of other letters": RecordFilter(label="grün ☃"),
    "high confidence": RecordFilter(confidence="high"),
    "low confidence": RecordFilter(confidence="low"),
    "a source": RecordFilter(source="camera-1"),
    "a whole source": RecordFilter(source="/eaves/mill/camera-1"),
    "a function": RecordFilter(source="flowers"),
    "the end of a name": RecordFilter(source="era-1"),
    "a hostile source": RecordFilter(source=HOSTILE),
    "since": RecordFilter(since=START + 20),
    "until": RecordFilter(until=START + 20),
    "no number": RecordFilter(since=float("nan")),
    "a text": RecordFilter(text="frame-1"),
    "a text in capitals": RecordFilter(text="FRAME-2.J"),
    "a text with wildcards": RecordFilter(text="%_"),
    "a text of other letters": RecordFilter(text="Tür"),
    "a text that is no text": RecordFilter(text="a\ud800b"),
    "all at once": RecordFilter(
        types=(IMAGE_CLASSIFIED,),
        source="camera-2",
        label="tulip",
        confidence="high",
        since=START,
        until=START + 60,
        text="frame",
    ),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> HistoryReader:
    path = tmp_path_factory.mktemp("history") / "history.db"
    clock = ManualClock()
    history = FileHistory(path, clock=clock)
    strange = captured_event(90, source="cam'era", subject="Tür/100 %_.jpg")
    events = [
        *build_flow(30, with_images=False).events,
        strange,
        classified_event(strange, label=HOSTILE),
        classified_event(strange, label="grün ☃", function="other"),
        classified_event(strange, label=""),
        replace(strange, source=HOSTILE, extensions={}),
        replace(strange, source="", subject=None),
    ]
    for event in events:
        history.add(event)
        clock.turn(1)
    history.close()
    return HistoryReader(path)


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
def test_the_file_has_what_the_filter_matches(wanted: RecordFilter, reader: HistoryReader) -> None:
    every = reader.find(RecordFilter(), limit=1_000)
    assert len(every) == 66
    expected = [record.seq for record in every if wanted.matches(record)]
    assert [record.seq for record in reader.find(wanted, limit=1_000)] == expected


def test_most_filters_match_some_records_and_not_others(reader: HistoryReader) -> None:
    """Otherwise the comparison above would mean little."""
    empty = {name for name, wanted in FILTERS.items() if not reader.find(wanted)}
    assert empty == {
        "a label that is the start of another", "a label that is another attribute's value", "the end of a name",
        "no number", "a text that is no text",
    }  # fmt: skip
    assert [len(reader.find(FILTERS[name], limit=99)) for name in ("a label", "a function", "low confidence")] == [
        6, 32, 4,
    ]  # fmt: skip


def test_pages_follow_each_other(reader: HistoryReader) -> None:
    wanted, before = RecordFilter(types=(IMAGE_CLASSIFIED,)), None
    pages: list[list[int]] = []
    while page := reader.find(wanted, before=before, limit=10):
        pages.append([record.seq for record in page])
        before = page[-1].seq
    assert [len(page) for page in pages] == [10, 10, 10, 3]
    shown = [seq for page in pages for seq in page]
    assert shown == sorted(shown, reverse=True)
    for strange in (0, -5, -(2**70)):
        assert reader.find(wanted, before=strange) == []
    assert len(reader.find(wanted, before=2**70, limit=99)) == 33


def test_a_damaged_record_matches_no_label_and_stops_no_search(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with contextlib.closing(FileHistory(path)) as history:
        for event in build_flow(2, with_images=False).events:
            history.add(event)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE records SET extensions = substr(extensions, 1, 250) WHERE seq = 2")
    reader = HistoryReader(path)
    assert reader.find(RecordFilter(label="daisy")) == []
    assert [record.seq for record in reader.find(RecordFilter(label="dandelion"))] == [4]
    assert list(reader.labels()) == ["dandelion"]
    assert [record.seq for record in reader.find(RecordFilter(source="camera-2"))] == [4, 3]
