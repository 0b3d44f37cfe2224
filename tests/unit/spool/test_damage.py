"""Damage that SQLite doesn't notice, or tells of in other words: nothing of it stops a queue for good."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError
from eaves.events import Event
from eaves.spool import LedgerLimits, Spool
from tests.fakes.clock import ManualClock

PAGE = 4096
COUNT = 20
NOW = 2e9


def make_event(number: int) -> Event:
    """An event without a digest of its own."""
    return Event(id=f"id-{number}", source="/eaves/site/camera", type="t", data=f"payload {number} ".encode() * 300)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.put_many([(make_event(number), ("out",)) for number in range(COUNT)])
    return path


def root_page(path: Path, name: str) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])
    finally:
        db.close()


def change(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def empty_page(path: Path, name: str) -> None:
    """Let the first page of an index or a table have no cells, which is well-formed."""
    change(path, (root_page(path, name) - 1) * PAGE + 3, bytes(2))


def read_all(spool: Spool) -> list[Event]:
    return [entry.event for entry in spool.peek("out", limit=99, now=NOW)]


def test_an_event_whose_bytes_were_changed_is_a_dead_letter_and_the_others_pass(path: Path) -> None:
    change(path, path.read_bytes().index(b"payload 7 payload 7"), b"PAYLOAD")
    with Spool(path) as spool:
        assert read_all(spool) == [make_event(number) for number in range(COUNT) if number != 7]
        assert spool.counts() == {"out": (COUNT - 1, 1)}


def test_an_event_of_an_earlier_release_has_no_checksum_and_is_delivered(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("ALTER TABLE events DROP COLUMN crc")
    db.close()
    with Spool(path) as spool:
        spool.put(make_event(COUNT))
        assert read_all(spool) == [make_event(number) for number in range(COUNT + 1)]


def test_a_damaged_file_of_an_earlier_release_is_replaced(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("ALTER TABLE events DROP COLUMN crc")
    db.close()
    empty_page(path, "by_due")
    with Spool(path) as spool:
        with pytest.raises(SpoolDamagedError):
            read_all(spool)
        assert read_all(spool) == [make_event(number) for number in range(COUNT)]


@pytest.mark.parametrize("name", ["by_due", "deliveries"])
def test_entries_that_a_damaged_page_hides_are_found(path: Path, name: str) -> None:
    empty_page(path, name)
    with Spool(path) as spool:
        with pytest.raises(SpoolDamagedError, match="missing from the index"):
            read_all(spool)
        assert read_all(spool) == [make_event(number) for number in range(COUNT)]


def test_entries_that_are_hidden_later_are_found_within_ten_minutes(path: Path) -> None:
    clock = ManualClock()
    with Spool(path, clock=clock) as spool:
        assert len(read_all(spool)) == COUNT
        spool.ack_many(spool.peek("out", limit=COUNT, now=NOW))
        assert read_all(spool) == []
        spool.put(make_event(1))
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool.database()._reader.execute("PRAGMA cache_size = 0")
        empty_page(path, "by_due")
        assert read_all(spool) == []
        clock.turn(601.0)
        with pytest.raises(SpoolDamagedError):
            read_all(spool)
        assert read_all(spool) == [make_event(1)]


def test_a_queue_that_is_empty_is_not_taken_for_damaged(path: Path) -> None:
    clock = ManualClock()
    with Spool(path, clock=clock) as spool:
        for entry in spool.peek("out", limit=COUNT, now=NOW):
            spool.retry(entry, clock.now() + 30.0, "no connection")
        for _ in range(3):
            clock.turn(61.0)
            assert spool.peek("other", now=clock.now()) == []
            assert len(spool.peek("out", limit=COUNT, now=clock.now())) == COUNT
        spool.ack_many(spool.peek("out", limit=COUNT, now=NOW))
        for _ in range(3):
            clock.turn(61.0)
            assert spool.peek_batch("out", now=NOW, max_events=9, max_bytes=9) == []


def test_a_counter_that_is_none_any_more_does_not_refuse_every_change(path: Path) -> None:
    page = root_page(path, "lanes") * PAGE
    header = path.read_bytes().index(b"\x06\x13", page - PAGE)  # of a record: its size, and the kind of each column
    assert header < page
    change(path, header + 4, b"\x00\x03")  # a NULL instead of the bytes that are queued; they count as dead
    with Spool(path) as spool:
        with pytest.raises(SpoolDamagedError):
            spool.put(make_event(COUNT))
        spool.put(make_event(COUNT))
        assert spool.counts() == {"out": (COUNT + 1, 0)}


SCHEMA = [
    (b"TRIGGER delivery_in", 3, b"\x9e"),  # an error that is no text
    (b"SELECT new.lane, 1, 0, size_bytes", 24, b"L"),  # still SQL, of a column that isn't there
    (b"attributes TEXT NOT NULL", 3, b"x"),  # a table whose column has another name
    (b"CREATE TABLE events", 13, b"x"),
    (b"TRIGGER ledger_in", 3, b"\x9e"),
]


@pytest.mark.parametrize(("text", "at", "new"), SCHEMA)
@pytest.mark.parametrize("later", [0, 3])
def test_a_schema_whose_text_was_changed_is_mended(
    tmp_path: Path, text: bytes, at: int, new: bytes, later: int
) -> None:
    path, killed = tmp_path / "relay" / "spool.db", tmp_path / "spool.db"
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put_many([(make_event(number), ("out",)) for number in range(COUNT)])
        spool.ack(spool.peek("out", now=NOW)[0])
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(COUNT, COUNT + later):  # they are in the log alone
            spool.put(make_event(number))
        for end in ("", "-wal") if later else ("",):
            shutil.copyfile(f"{path}{end}", f"{killed}{end}")
    change(killed, killed.read_bytes().index(text) + at, new)
    with Spool(killed, ledger=LedgerLimits()) as spool:
        with contextlib.suppress(SpoolDamagedError):
            spool.put(make_event(99))
        spool.put(make_event(99))
        whole = [make_event(number) for number in range(1, COUNT + later)]
        assert [event for event in read_all(spool) if event.id != "id-99"] == whole
        assert spool.ledger is not None
        assert spool.ledger.counts().released == 1
