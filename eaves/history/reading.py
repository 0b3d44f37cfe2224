"""Reading of a history's file once, while another process may be writing it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from eaves.errors import PlatformError
from eaves.history.record import Record
from eaves.history.rows import connect_to_read, select_newest, select_next

HINT = "start `eaves up`; it renames a damaged history and starts a new one"


def read_history(path: Path, *, limit: int = 100) -> list[Record]:
    """Return the newest `limit` records of a history that another process may be writing, oldest first.

    Args:
        path: Path of the file; when it doesn't exist the history is empty.
        limit: Maximum number of records.

    Raises:
        PlatformError: When the file can't be read.
    """
    return _read_file(path, lambda db: select_newest(db, 0, limit))


def read_next(path: Path, *, after: int, limit: int) -> list[Record]:
    """Return the first `limit` records after a given one in a history, oldest first, so that a reader misses none.

    Args:
        path: Path of the file, which another process may be writing; no record when it isn't there.
        after: `Record.seq` of the record before the first one wanted; 0 reads from the beginning.
        limit: Maximum number of records to return.

    Raises:
        PlatformError: When the file can't be read.
    """
    return _read_file(path, lambda db: select_next(db, after, limit))


def _read_file(path: Path, read: Callable[[sqlite3.Connection], list[Record]]) -> list[Record]:
    if not path.exists():
        return []
    try:
        with contextlib.closing(connect_to_read(path)) as db:
            return read(db)
    except sqlite3.Error as error:
        raise PlatformError(f"the history {path} can't be read: {error}", hint=HINT) from error
