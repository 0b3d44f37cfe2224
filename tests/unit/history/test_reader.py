"""Reading of the history for pages, while another process writes it."""

import contextlib
import shutil
from pathlib import Path

import pytest

from eaves.errors import PlatformError
from eaves.events import MODEL_SHIFTED, Event
from eaves.history import FileHistory, HistoryReader, Record
from tests.fakes.console.material import build_flow, captured_event, classified_event


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


def test_a_repeated_event_is_in_the_chain_once(path: Path):
    cause = captured_event(1)
    fill(path, cause, cause, classified_event(cause), classified_event(cause))
    reader = HistoryReader(path)
    assert numbers(reader.chain(get(reader, 1))) == [1, 3]
    assert numbers(reader.chain(get(reader, 4))) == [2, 4]


def test_an_image_that_is_chosen_after_its_prediction_is_not_the_newest_of_its_source(path: Path):
    cause = captured_event(1)
    fill(path, cause, classified_event(cause), cause.with_extensions(chosen="unsure"))
    (found,) = HistoryReader(path).by_source()
    assert (found.captured, found.newest) == (get(HistoryReader(path), 1), get(HistoryReader(path), 2))


def test_an_event_about_a_model_makes_its_function_no_source_of_images(path: Path):
    fill(path, captured_event(1), Event(id="1", source="/eaves/mill/parts", type=MODEL_SHIFTED, data=b"{}"))
    assert len(HistoryReader(path).by_source()) == 1


def test_a_damaged_history_is_an_error_with_a_hint_until_it_is_set_aside(path: Path):
    path.write_bytes(b"not a database, and longer than a header " * 10)
    reader = HistoryReader(path)
    with pytest.raises(PlatformError, match=r"history\.db can't be read: file is not a database") as caught:
        reader.newest()
    assert "eaves up" in (caught.value.hint or "")
    fill(path, captured_event())
    assert reader.newest() == 1


def test_reading_changes_no_file(path: Path, tmp_path: Path):
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
