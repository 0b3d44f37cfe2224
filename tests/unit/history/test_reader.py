"""Reading of the history for pages, while another process writes it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from eaves.errors import PlatformError
from eaves.events import DATASET_UPDATED, Event
from eaves.history import FileHistory, HistoryReader, Record
from tests.fakes.console.material import build_flow, captured_event, classified_event, rejected_event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def fill(path: Path, *events: Event) -> None:
    with contextlib.closing(FileHistory(path)) as history:
        for event in events:
            history.add(event)


def numbers(records: object) -> list[int]:
    assert isinstance(records, list)
    return [record.seq for record in records]


def get(reader: HistoryReader, seq: int) -> Record:
    found = reader.get(seq)
    assert found is not None
    return found


def test_a_chain_has_the_capture_and_what_it_caused(path: Path) -> None:
    first, second = captured_event(1), captured_event(2)
    flowers, ripe = classified_event(first), classified_event(first, function="ripeness", digest="b" * 64)
    sorter = classified_event(flowers, function="sorter")
    fill(path, first, second, flowers, classified_event(second), rejected_event(first), ripe, sorter)
    reader = HistoryReader(path)
    for seq in (1, 3, 5, 6, 7):
        assert numbers(reader.chain(get(reader, seq))) == [1, 3, 5, 6, 7]
    assert numbers(reader.chain(get(reader, 4))) == [2, 4]


def test_a_repeated_event_is_in_the_chain_once(path: Path) -> None:
    cause = captured_event(1)
    fill(path, cause, cause, classified_event(cause), classified_event(cause))
    reader = HistoryReader(path)
    assert numbers(reader.chain(get(reader, 1))) == [1, 3]
    assert numbers(reader.chain(get(reader, 4))) == [2, 4]


def test_choices_and_the_newest_of_each_source_follow_the_records(path: Path) -> None:
    reader, history = HistoryReader(path), FileHistory(path)
    one, two = captured_event(1, source="b"), captured_event(2, source="a")
    for event in (one, two, classified_event(one, label="rose"), Event(id="1", source="/train", type=DATASET_UPDATED)):
        history.add(event)
    assert (list(reader.labels()), list(reader.sources())) == (["rose"], ["/eaves/mill/a", "/eaves/mill/b"])
    found = reader.by_source()
    assert [(one.source, one.newest and one.newest.seq) for one in found] == [
        ("/eaves/mill/b", 3),
        ("/eaves/mill/a", 2),
    ]
    for event in (classified_event(two, label="aster"), rejected_event(two), captured_event(3, source="c")):
        history.add(event)
    assert list(reader.labels()) == ["aster", "rose"]
    assert [one.source[-1] for one in reader.by_source()] == ["c", "a", "b"]
    assert [one.predicted and one.predicted.seq for one in reader.by_source()] == [None, 5, 3]
    history.close()


def test_a_damaged_history_is_an_error_with_a_hint_until_it_is_set_aside(path: Path) -> None:
    path.write_bytes(b"not a database, and longer than a header " * 10)
    reader = HistoryReader(path)
    with pytest.raises(PlatformError, match=r"history\.db can't be read: file is not a database") as caught:
        reader.newest()
    assert "eaves up" in (caught.value.hint or "")
    fill(path, captured_event())
    assert reader.newest() == 1


def test_reading_changes_no_file(path: Path, tmp_path: Path) -> None:
    """The log that a killed writer left is read, and stays for the next writer."""
    history = FileHistory(path)
    for event in build_flow(5, with_images=False).events:
        history.add(event)
    left = tmp_path / "left" / "history.db"
    left.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
    history.close()
    before = [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")]
    reader = HistoryReader(left)
    assert reader.newest() == 10
    assert [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")] == before
