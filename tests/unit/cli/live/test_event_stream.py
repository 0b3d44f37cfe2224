"""A follower reads each event once, whatever happens to the history meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

from eaves.cli.live.event_stream import BATCH, EventStream
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory


def add(history: FileHistory, first: int, last: int, type_: str = IMAGE_CAPTURED) -> None:
    for number in range(first, last):
        history.add(Event(id=str(number), source="/s", type=type_))


def ids(stream: EventStream) -> list[str]:
    found: list[str] = []
    is_more = True
    while is_more:
        new = stream.read_new()
        assert len(new.records) <= BATCH
        found += [record.id for record in new.records]
        is_more = new.is_more
    return found


def test_events_behind_the_newest_that_were_there_are_read_once(tmp_path: Path) -> None:
    history = FileHistory(tmp_path / "history.db")
    add(history, 0, 5)
    stream = EventStream(tmp_path / "history.db")
    assert [record.id for record in stream.read_newest(2)] == ["3", "4"]
    assert ids(stream) == []
    add(history, 5, 5 + 3 * BATCH)
    assert ids(stream) == [str(number) for number in range(5, 5 + 3 * BATCH)]
    assert ids(stream) == []
    history.close()


def test_none_of_the_events_that_are_there_is_shown_twice_when_none_is_asked_for(tmp_path: Path) -> None:
    history = FileHistory(tmp_path / "history.db")
    add(history, 0, 5)
    stream = EventStream(tmp_path / "history.db")
    assert stream.read_newest(0) == []
    add(history, 5, 6)
    assert ids(stream) == ["5"]
    history.close()


def test_only_the_wanted_type_is_read(tmp_path: Path) -> None:
    history = FileHistory(tmp_path / "history.db")
    add(history, 0, 2)
    add(history, 2, 4, IMAGE_CLASSIFIED)
    stream = EventStream(tmp_path / "history.db", "image.classified.v1")
    assert [record.id for record in stream.read_newest(1)] == ["3"]
    add(history, 4, 6)
    add(history, 6, 7, IMAGE_CLASSIFIED)
    assert ids(stream) == ["6"]
    history.close()


def test_a_history_that_comes_later_and_one_that_is_replaced_are_read_from_their_beginning(tmp_path: Path) -> None:
    path = tmp_path / "state/history.db"
    stream = EventStream(path)
    assert stream.read_newest(10) == []
    assert ids(stream) == []
    path.parent.mkdir()
    history = FileHistory(path)
    add(history, 0, 20)
    assert ids(stream) == [str(number) for number in range(20)]
    history.close()
    shutil.move(path.parent, tmp_path / "before")  # its inode stays in use, so that the new file has another one
    assert ids(stream) == []
    path.parent.mkdir()
    history = FileHistory(path)
    add(history, 100, 103)
    assert ids(stream) == ["100", "101", "102"]
    history.close()


def test_events_that_the_history_deleted_before_they_were_read_are_counted(tmp_path: Path) -> None:
    history = FileHistory(tmp_path / "history.db", max_bytes=60_000)
    add(history, 0, 1)
    stream = EventStream(tmp_path / "history.db")
    stream.read_newest(1)
    add(history, 1, 900)
    new = stream.read_new()
    assert new.missed > 100
    assert int(new.records[0].id) == 1 + new.missed
    history.close()


def test_a_history_that_is_deleted_is_forgotten_whatever_file_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = FileHistory(path)
    add(history, 0, 20)
    stream = EventStream(path)
    stream.read_newest(1)
    history.close()
    kept = tmp_path / "kept.db"
    path.rename(kept)
    assert ids(stream) == []
    kept.rename(path)  # the number of the file is the same, as that of a new one may be
    assert ids(stream) == [str(number) for number in range(20)]
