"""The Protocol `eaves.history.Records`, over every implementation: the file's reader, and the fake of the tests."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.history import FileHistory, HistoryReader, Record, RecordFilter, Records
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.backend import FakeRecords
from tests.fakes.console.material import Flow, build_flow

COUNT = 12


def read_file(flow: Flow, folder: Path) -> Records:
    clock = ManualClock()
    with contextlib.closing(FileHistory(folder / "history.db", clock=clock)) as history:
        for event, record in zip(flow.events, flow.records, strict=True):
            clock.turn(record.at - clock.now())
            history.add(event)
    return HistoryReader(folder / "history.db")


def fake(flow: Flow, folder: Path) -> Records:
    return FakeRecords(list(flow.records))


IMPLEMENTATIONS: dict[str, Callable[[Flow, Path], Records]] = {"file": read_file, "fake": fake}


@pytest.fixture(params=list(IMPLEMENTATIONS))
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Flow], Records]:
    return lambda flow: IMPLEMENTATIONS[request.param](flow, tmp_path)


@pytest.fixture
def records(build: Callable[[Flow], Records]) -> Records:
    """Twelve images of two sources in turn, each with its prediction."""
    return build(build_flow(COUNT, labels=("rose", "tulip", "daisy"), with_images=False))


def seqs(found: Sequence[Record]) -> list[int]:
    return [one.seq for one in found]


def test_an_empty_history(build: Callable[[Flow], Records]):
    empty = build(build_flow(0))
    assert empty.newest() == 0
    assert seqs(empty.next(after=0, limit=5)) == seqs(empty.find(RecordFilter())) == []
    assert empty.get(1) is None
    assert (list(empty.labels()), list(empty.sources()), list(empty.by_source())) == ([], [], [])


def test_records_are_read_forwards_and_backwards(records: Records):
    assert records.newest() == 2 * COUNT
    assert seqs(records.next(after=20, limit=3)) == [21, 22, 23]
    assert seqs(records.next(after=24, limit=3)) == []
    assert seqs(records.find(RecordFilter(), limit=2)) == [24, 23]
    assert seqs(records.find(RecordFilter(), before=3)) == [2, 1]


def test_a_filter_is_applied_before_the_limit(records: Records):
    assert seqs(records.find(RecordFilter(label="rose"), limit=2)) == [20, 14]
    assert seqs(records.find(RecordFilter(label="rose"), before=14, limit=2)) == [8, 2]
    assert seqs(records.find(RecordFilter(types=(IMAGE_CAPTURED,), source="camera-2"), limit=2)) == [23, 19]
    assert seqs(records.find(RecordFilter(types=(IMAGE_CLASSIFIED,), since=START + 20))) == [24, 22]
    assert seqs(records.find(RecordFilter(confidence="low"))) == [14]


def test_one_record_has_everything(records: Records):
    record = records.get(2)
    assert record is not None
    assert (record.seq, record.type, record.subject) == (2, IMAGE_CLASSIFIED, "frame-1.jpg")
    assert (record.extensions["label"], record.source) == ("rose", "/eaves/mill/flowers")
    assert record.at == pytest.approx(START + 0.03)
    assert '"timings_ms"' in record.text
    assert records.get(2 * COUNT + 1) is None


def test_a_chain_and_causes_connect_a_prediction_with_its_image(records: Records):
    page = records.find(RecordFilter(types=(IMAGE_CLASSIFIED,)), limit=3)
    assert {seq: cause.seq for seq, cause in records.causes(page).items()} == {24: 23, 22: 21, 20: 19}
    for seq in (5, 6):
        record = records.get(seq)
        assert record is not None
        assert seqs(records.chain(record)) == [5, 6]


def test_choices_and_the_newest_of_each_source(records: Records):
    assert list(records.labels()) == ["daisy", "rose", "tulip"]
    assert list(records.sources()) == ["/eaves/mill/camera-1", "/eaves/mill/camera-2"]
    found = [
        (one.source[-1], one.captured and one.captured.seq, one.predicted and one.predicted.seq)
        for one in records.by_source()
    ]
    assert found == [("2", 23, 24), ("1", 21, 22)]
