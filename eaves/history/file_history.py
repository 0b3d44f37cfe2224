"""The history in a file, which one process writes, and others read once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import PlatformError
from eaves.events import Event
from eaves.history.expendable_file import ExpendableFile, connect
from eaves.history.record import COLUMNS, STORED, Record, build_row, parse_rows

KEEP = 10_000
"""Maximum number of records in the history."""
MAX_BYTES = 64_000_000
"""Default size limit of the file, bytes: 10,000 usual records, each well under a kilobyte, and room for large ones."""
STEP = 10
"""Number of records added between two checks of the file's size. A check deletes at most twice as many records, so that
no event waits long."""
HINT = "start `eaves up`; it renames a damaged history and starts a new one"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT,
    extensions TEXT, size_bytes INTEGER, text TEXT
)
"""
"""The table has no index: a search of 10,000 usual records takes 5 ms, and each index would make every event cost more,
whether a person looks or not."""
_INSERT = f"INSERT INTO records ({STORED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_DELETE = "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE seq <= ? ORDER BY seq LIMIT ?)"

T = TypeVar("T")


class FileHistory:
    """A history in one SQLite file; several processes may read it while one process writes.

    A damaged file is renamed to `NAME.damaged`, which replaces an older file of that name, and an empty history is
    created. A file that can't be used for another reason is tried again with the next event.

    Args:
        path: Path of the file.
        max_bytes: Size limit of the file, bytes; beyond it the oldest records are deleted. SQLite's write-ahead log
            beside the file takes another megabyte or two.
        clock: Clock for the times of the records.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, clock: Clock = SYSTEM) -> None:
        self._path = path
        self._clock = clock
        self._file = ExpendableFile(
            path, schema=_SCHEMA, max_bytes=max_bytes, name="history", loss="events are not recorded"
        )
        self._added = 0
        self._file.write(lambda db: None)

    def add(self, event: Event) -> None:
        """Record one accepted event. A record that can't be written is left out; the event stays accepted."""
        row = build_row(event, self._clock.now())
        self._file.write(lambda db: self._insert(db, row))

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` records with seq above `after`, oldest first.

        Raises:
            PlatformError: When the file can't be read for a reason other than damage.
        """
        try:
            return self._file.run(lambda db: _select_newest(db, after, limit))
        except (sqlite3.Error, OSError) as error:
            raise PlatformError(f"the history {self._path} can't be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _insert(self, db: sqlite3.Connection, row: tuple[object, ...]) -> None:
        last = db.execute(_INSERT, row).lastrowid or 0
        self._added += 1
        if self._added % STEP == 0:
            # Deletes the oldest records beyond either limit, a few at a time.
            db.execute(_DELETE, (last if self._file.is_too_large(db) else last - KEEP, 2 * STEP))


def read_history(path: Path, *, limit: int = 100) -> list[Record]:
    """Return the newest `limit` records of a history that another process may be writing, oldest first.

    Args:
        path: Path of the file; when it doesn't exist the history is empty.
        limit: Maximum number of records.

    Raises:
        PlatformError: When the file can't be read.
    """
    return read_file(path, lambda db: _select_newest(db, 0, limit), [])


def read_next(path: Path, *, after: int, limit: int) -> list[Record]:
    """Return the first `limit` records after a given one in a history, oldest first, so that a reader misses none.

    Args:
        path: Path of the file, which another process may be writing; no record when it isn't there.
        after: `Record.seq` of the record before the first one wanted; 0 reads from the beginning.
        limit: Maximum number of records to return.

    Raises:
        PlatformError: When the file can't be read.
    """
    sql = f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    return read_file(path, lambda db: parse_rows(db.execute(sql, (after, limit)).fetchall()), [])


def read_file(path: Path, read: Callable[[sqlite3.Connection], T], empty: T) -> T:
    """Run a query on a history that another process may be writing; return `empty` when it isn't there or has no table.

    Raises:
        PlatformError: When the file can't be read.
    """
    if not path.exists():
        return empty
    try:
        with contextlib.closing(connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return read(db)
    except sqlite3.Error as error:
        if "no such table" in str(error):  # it is being created
            return empty
        raise PlatformError(f"the history {path} can't be read: {error}", hint=HINT) from error


def _select_newest(db: sqlite3.Connection, after: int, limit: int) -> list[Record]:
    sql = f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
    return parse_rows(reversed(db.execute(sql, (after, limit)).fetchall()))
