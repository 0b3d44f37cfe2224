"""What flowed, for people: order, limits, and no image ever kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.history import (
    KEEP,
    MAX_ATTRIBUTE,
    MAX_EXTENSIONS,
    MAX_TEXT,
    FileHistory,
    HistoryReader,
    Record,
    RecordFilter,
)

ROOM_BYTES = 2_500_000
"""What SQLite's write-ahead log may take beside the file."""


def event(number: int = 0, **changes: object) -> Event:
    values: dict[str, object] = {"id": str(number), "source": "/s", "type": "t", **changes}
    return Event(**values)  # type: ignore[arg-type]


def read(path: Path, limit: int = KEEP) -> list[Record]:
    """The newest records, oldest first, as a program reads them that doesn't write the history."""
    return [*HistoryReader(path).find(RecordFilter(), limit=limit)][::-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def history(tmp_path: Path) -> FileHistory:
    return FileHistory(tmp_path / "history.db")


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("Application/JSON; charset=utf-8", "[1]"),
        ("application/x-notjson", ""),
    ],
)
def test_only_json_is_kept_as_text(history: FileHistory, path: Path, content_type: str | None, text: str):
    history.add(event(data=b"[1]", datacontenttype=content_type))
    (record,) = read(path)
    assert (record.text, record.size_bytes, record.subject) == (text, 3, "")


LONG = {f"a{number}": "ü" * 2048 for number in range(90)}


def size_bytes(path: Path) -> int:
    """Bytes on disk of the history, with what SQLite keeps beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def test_a_record_is_small_whatever_the_event_holds(history: FileHistory, path: Path):
    history.add(
        event(
            source="/" + "s" * 4000,
            type="t" * 4000,
            subject="ü" * 2048,
            id="i" * 4000,
            extensions=LONG,
            data=b"\xff" + b"x" * 5000,
            datacontenttype="application/json",
        )
    )
    (record,) = read(path)
    texts = (record.id, record.type, record.source, record.subject)
    assert [len(text) for text in texts] == [MAX_ATTRIBUTE] * 4
    assert 0 < sum(len(name) + len(value) for name, value in record.extensions.items()) <= MAX_EXTENSIONS
    assert record.extensions["a0"] == "ü" * MAX_ATTRIBUTE
    assert (len(record.text), record.size_bytes) == (MAX_TEXT, 5001)


def test_the_files_stay_within_their_bound(tmp_path: Path):
    path = tmp_path / "history.db"
    history = FileHistory(path, max_bytes=2_000_000)
    large = {"data": b"x" * MAX_TEXT, "datacontenttype": "application/json", "extensions": LONG}
    for number in range(2_000):
        history.add(event(number, **large))
        assert number % 100 or size_bytes(path) < 2_000_000 + ROOM_BYTES
    records = read(path)
    assert records[-1].id == "1999"
    assert len(records) > 100
    assert [record.seq for record in records] == list(range(records[0].seq, 2_001))
    history.close()
    assert size_bytes(path) <= 2_100_000


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2 + 100],
    "schema": lambda content: content[:100] + bytes(4096 - 100) + content[4096:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_and_the_next_one_begun(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, aside = tmp_path / "history.db", tmp_path / "history.db.damaged"
    history = FileHistory(path)
    for number in range(500):
        history.add(event(number, data=b"1" * 500, datacontenttype="text/json"))
    history.close()
    path.write_bytes(damage(path.read_bytes()))
    aside.write_text("an older one")
    history = FileHistory(path)
    for number in range(3):
        history.add(event(number))
    assert [record.id for record in read(path)] == ["0", "1", "2"]
    assert aside.stat().st_size > 100
    assert f"renamed to {aside}" in caplog.text
    assert {file.name for file in tmp_path.iterdir()} == {
        "history.db", "history.db-wal", "history.db-shm", "history.db.damaged"
    }  # fmt: skip
    history.close()


def test_a_history_that_can_not_be_written_stops_nothing_and_continues_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Losing a record loses no event, so it must not refuse one either."""
    path = tmp_path / "history.db"
    path.mkdir()
    history = FileHistory(path)
    history.add(event(1))
    history.add(event(2))
    assert caplog.text.count("events are not recorded: unable to open") == 1
    path.rmdir()
    history.add(event(3))
    assert [record.id for record in read(path)] == ["3"]
    history.close()
    history.add(event(4))
    assert "the history is closed" in caplog.text
