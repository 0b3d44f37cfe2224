"""The history in a file, which one process writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import PlatformError
from eaves.events import Event
from eaves.history.expendable_file import ExpendableFile
from eaves.history.record import Record, build_row
from eaves.history.rows import SCHEMA, STORED, select_newest

KEEP = 10_000
"""Maximum number of records in the history."""
MAX_BYTES = 64_000_000
"""Default size limit of the file, bytes: 10,000 usual records, each well under a kilobyte, and room for large ones."""
STEP = 10
"""Number of records added between two checks of the file's size. A check deletes at most twice as many records, so that
no event waits long."""
_INSERT = f"INSERT INTO records ({STORED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_DELETE = "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE seq <= ? ORDER BY seq LIMIT ?)"


class History(Protocol):
    """Interface of a history of accepted events."""

    def add(self, event: Event) -> None:
        """Record one accepted event."""

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` records with seq above `after`, oldest first."""


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
            path, schema=SCHEMA, max_bytes=max_bytes, name="history", loss="events are not recorded"
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
            return self._file.run(lambda db: select_newest(db, after, limit))
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
            self._file.shrink(db)
