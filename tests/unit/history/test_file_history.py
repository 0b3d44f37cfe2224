"""What flowed, for people: order, limits, and no image ever kept."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.cli import cli
from eaves.errors import PlatformError
from eaves.events import Event
from eaves.history import KEEP, MAX_ATTRIBUTE, MAX_EXTENSIONS, MAX_TEXT, STEP, FileHistory, read_history
from tests.fakes.clock import ManualClock

ROOM_BYTES = 2_500_000
"""What SQLite's write-ahead log may take beside the file."""


def event(number: int = 0, **changes: object) -> Event:
    values: dict[str, object] = {"id": str(number), "source": "/s", "type": "t", **changes}
    return Event(**values)  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> FileHistory:
    return FileHistory(tmp_path / "history.db")


def test_a_record_says_what_the_event_was(history: FileHistory) -> None:
    history.add(
        event(7, subject="Tür.jpg", extensions={"label": "grün"}, data=b'{"a": 1}', datacontenttype="application/json")
    )
    (record,) = history.read()
    assert (record.seq, record.id, record.source, record.type) == (1, "7", "/s", "t")
    assert (record.subject, record.extensions, record.size_bytes) == ("Tür.jpg", {"label": "grün"}, 8)
    assert record.text == '{"a": 1}'
    assert record.at > 1.7e9


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("application/json", "[1]"),
        ("application/problem+json", "[1]"),
        ("Application/JSON; charset=utf-8", "[1]"),
        ("image/jpeg", ""),
        ("application/x-notjson", ""),
        (None, ""),
    ],
)
def test_only_json_is_kept_as_text(history: FileHistory, content_type: str | None, text: str) -> None:
    history.add(event(data=b"[1]", datacontenttype=content_type))
    (record,) = history.read()
    assert (record.text, record.size_bytes, record.subject) == (text, 3, "")


def test_long_text_is_cut(history: FileHistory) -> None:
    history.add(event(data=b"\xff" + b"x" * 5000, datacontenttype="application/json"))
    (record,) = history.read()
    assert len(record.text) == MAX_TEXT
    assert record.size_bytes == 5001


def test_the_newest_come_oldest_first(history: FileHistory) -> None:
    for number in range(5):
        history.add(event(number))
    assert [record.id for record in history.read(limit=2)] == ["3", "4"]
    assert [record.id for record in history.read(after=2)] == ["2", "3", "4"]
    assert [record.id for record in history.read(after=2, limit=1)] == ["4"]
    assert history.read(after=5) == []


def test_another_process_reads_while_one_writes(history: FileHistory, tmp_path: Path) -> None:
    reader = FileHistory(tmp_path / "history.db")
    history.add(event(1))
    assert [record.id for record in reader.read()] == ["1"]
    reader.close()
    history.add(event(2))
    history.close()
    assert [record.id for record in FileHistory(tmp_path / "history.db").read()] == ["1", "2"]


def test_old_records_go(history: FileHistory) -> None:
    for number in range(KEEP + 200):
        history.add(event(number))
    records = history.read(limit=2 * KEEP)
    assert KEEP <= len(records) < KEEP + 100
    assert records[-1].id == str(KEEP + 199)


LONG = {f"a{number}": "ü" * 2048 for number in range(90)}


def size_bytes(path: Path) -> int:
    """Bytes on disk of the history, with what SQLite keeps beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def test_a_record_is_small_whatever_the_event_holds(history: FileHistory) -> None:
    history.add(event(source="/" + "s" * 4000, type="t" * 4000, subject="ü" * 2048, id="i" * 4000, extensions=LONG))
    (record,) = history.read()
    texts = (record.id, record.type, record.source, record.subject)
    assert [len(text) for text in texts] == [MAX_ATTRIBUTE] * 4
    assert 0 < sum(len(name) + len(value) for name, value in record.extensions.items()) <= MAX_EXTENSIONS
    assert record.extensions["a0"] == "ü" * MAX_ATTRIBUTE


def test_text_that_no_file_takes_is_replaced(history: FileHistory) -> None:
    history.add(event(subject="a\ud800b"))
    assert [record.subject for record in history.read()] == ["a?b"]


def test_the_files_stay_within_their_bound(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = FileHistory(path, max_bytes=2_000_000)
    large = {"data": b"x" * MAX_TEXT, "datacontenttype": "application/json", "extensions": LONG}
    for number in range(2_000):
        history.add(event(number, **large))
        assert number % 100 or size_bytes(path) < 2_000_000 + ROOM_BYTES
    records = history.read(limit=KEEP)
    assert records[-1].id == "1999"
    assert len(records) > 100
    assert [record.seq for record in records] == list(range(records[0].seq, 2_001))
    history.close()
    assert size_bytes(path) <= 2_100_000


def test_a_lower_bound_shrinks_the_file_in_small_steps(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = FileHistory(path)
    for number in range(2_000):
        history.add(event(number, extensions=LONG))
    history.close()
    before = size_bytes(path)
    history = FileHistory(path, max_bytes=1_000_000)
    kept = len(history.read(limit=KEEP))
    for number in range(STEP):
        history.add(event(number))
    assert kept - 2 * STEP <= len(history.read(limit=KEEP)) <= kept + STEP
    for number in range(3_000):
        history.add(event(number))
    history.close()
    assert before > 4_000_000
    assert size_bytes(path) <= 1_100_000


def test_the_time_is_the_clocks(tmp_path: Path) -> None:
    clock = ManualClock()
    history = FileHistory(tmp_path / "history.db", clock=clock)
    clock.turn(60)
    history.add(event(1))
    assert history.read()[0].at == clock.now()


DAMAGES = {
    "garbage": lambda content: b"not a database, and longer than a header " * 10,
    "header only": lambda content: b"SQLite format 3\0" + random.Random(1).randbytes(8000),
    "cut": lambda content: content[: len(content) // 2 + 100],
    "schema": lambda content: content[:100] + bytes(4096 - 100) + content[4096:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_and_the_next_one_begun(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert [record.id for record in history.read()] == ["0", "1", "2"]
    assert aside.stat().st_size > 100
    assert f"renamed to {aside}" in caplog.text
    assert {file.name for file in tmp_path.iterdir()} == {
        "history.db", "history.db-wal", "history.db-shm", "history.db.damaged"
    }  # fmt: skip
    history.close()


def damage_records(path: Path) -> None:
    """Overwrite every page behind the first one, in a file that stays open elsewhere."""
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (path.stat().st_size - 4096))


@pytest.mark.parametrize("act", ["add", "read"])
def test_damage_that_shows_only_later_is_set_aside_too(
    act: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.db"
    with contextlib.closing(FileHistory(path)) as filled:
        for number in range(500):
            filled.add(event(number))
    history = FileHistory(path)
    damage_records(path)
    if act == "read":
        assert history.read() == []
    history.add(event(7))
    assert [record.id for record in history.read()] == ["7"]
    assert "is damaged" in caplog.text
    history.close()


def test_a_history_that_can_not_be_written_stops_nothing_and_continues_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Losing a record loses no event, so it must not refuse one either."""
    path = tmp_path / "history.db"
    path.mkdir()
    history = FileHistory(path)
    history.add(event(1))
    history.add(event(2))
    assert caplog.text.count("events are not recorded: unable to open") == 1
    with pytest.raises(PlatformError, match=r"history\.db can't be read: unable to open"):
        history.read()
    path.rmdir()
    history.add(event(3))
    assert [record.id for record in history.read()] == ["3"]
    history.close()
    history.add(event(4))
    assert "the history is closed" in caplog.text


def test_damage_within_a_record_costs_that_record_only(history: FileHistory, tmp_path: Path) -> None:
    history.add(event(1, extensions={"label": "rose"}))
    history.add(event(2, extensions={"label": "rose"}))
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as db, db:
        db.execute("UPDATE records SET extensions = CAST(x'ff7b' AS TEXT), subject = CAST(x'ff' AS TEXT) WHERE seq = 1")
    found = {record.id: (record.subject, record.extensions) for record in history.read()}
    assert found == {"1": ("\ufffd", {}), "2": ("", {"label": "rose"})}


def test_reading_a_history_of_others_changes_nothing(history: FileHistory, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    assert read_history(tmp_path / "none.db") == []
    history.add(event(1))
    assert [record.id for record in read_history(path)] == ["1"]
    copied = tmp_path / "after a power cut.db"
    shutil.copy(path, copied)
    shutil.copy(f"{path}-wal", f"{copied}-wal")
    assert [record.id for record in read_history(copied)] == ["1"]
    history.close()
    assert [record.id for record in read_history(path, limit=5)] == ["1"]


def test_reading_a_damaged_history_says_so_and_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"not a database, and longer than a header " * 10)
    before = path.read_bytes()
    with pytest.raises(PlatformError, match=r"history\.db can't be read: file is not a database") as caught:
        read_history(path)
    assert "eaves up" in (caught.value.hint or "")
    assert path.read_bytes() == before


def test_the_command_that_shows_it_reports_a_damaged_history(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"not a database, and longer than a header " * 10)
    done = CliRunner().invoke(cli, ["events", "--state", str(tmp_path)])
    assert isinstance(done.exception, PlatformError)
