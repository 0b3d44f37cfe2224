"""An SQLite file for people that may be lost at any time: the history, and thumbnails. Its size is bounded.

Writes don't wait for the disk, so a power failure may damage the file. A damaged file is renamed to `NAME.damaged`,
which replaces an older file of that name, and an empty one is created. A file that can't be used for another reason,
such as a full disk, is tried again with the next write.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

WAL_PAGES = 250
"""Number of pages in SQLite's write-ahead log at which a checkpoint copies them into the file; 250 pages are 1 MB."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""SQLite's error codes for a damaged file. Source: sqlite.org/rescode.html; extended codes have these in their lowest
byte."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ExpendableFile:
    """One SQLite file that one process writes and others may read. Threads may share it.

    Args:
        path: Path of the file.
        schema: SQL statements that create the tables where they don't exist.
        max_bytes: Size limit of the file, bytes. The write-ahead log beside the file takes another megabyte or two.
        name: What the file is, in log lines, such as `history`.
        loss: What happens while the file can't be written, in log lines.
    """

    def __init__(self, path: Path, *, schema: str, max_bytes: int, name: str, loss: str) -> None:
        self._path = path
        self._schema = schema
        self._max_bytes = max_bytes
        self._name = name
        self._loss = loss
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._failing: set[str] = set()

    def write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Change the file; log the first of consecutive failures, and their end."""
        self._attempt(work, "written", None)

    def read(self, work: Callable[[sqlite3.Connection], T], empty: T) -> T:
        """Return the result of a query; `empty` when the file can't be read, which is logged as in `write`."""
        return self._attempt(work, "read", empty)

    def _attempt(self, work: Callable[[sqlite3.Connection], T], done: str, empty: T) -> T:
        try:
            found = self._run(work)
        except (sqlite3.Error, OSError) as error:
            if done not in self._failing:
                _log.error("the %s %s can't be %s, so %s: %s", self._name, self._path, done, self._loss, error)
            self._failing.add(done)
            return empty
        if done in self._failing:
            _log.info("the %s %s can be %s again", self._name, self._path, done)
        self._failing.discard(done)
        return found

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation on the file; when the file turns out to be damaged, run it again on an empty one.

        Raises:
            sqlite3.Error, OSError: When the file can't be used for another reason, or is closed.
        """
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError(f"the {self._name} is closed")
            try:
                return work(self._open())
            except sqlite3.DatabaseError as error:
                if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF not in _DAMAGED:
                    raise
                self._set_aside(error)
            return work(self._open())

    def is_too_large(self, db: sqlite3.Connection) -> bool:
        """Return whether the file is larger than the size limit."""
        page, pages = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count"))
        return page * pages > self._max_bytes

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            db = connect(self._path, check_same_thread=False)
            try:
                self._set_up(db)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA auto_vacuum=FULL")  # each commit gives free pages back to the disk
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")  # a power failure may lose writes or damage the file
        db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        db.execute(f"PRAGMA journal_size_limit={2 * WAL_PAGES * 4096}")
        db.executescript(self._schema)

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _set_aside(self, error: sqlite3.Error) -> None:
        self._close()
        aside = Path(f"{self._path}.damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        _log.error("the %s is damaged (%s); it was renamed to %s, and a new one was started", self._name, error, aside)


def connect(database: Path | str, **options: object) -> sqlite3.Connection:
    """Open a file in autocommit mode; bytes that are not UTF-8 are read as U+FFFD."""
    db: sqlite3.Connection = sqlite3.connect(database, isolation_level=None, timeout=5, **options)  # type: ignore[call-overload]
    db.text_factory = lambda content: content.decode(errors="replace")
    return db
