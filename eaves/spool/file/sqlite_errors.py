"""Translation of errors from SQLite and the file system into SpoolError with a hint."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eaves.base.disk_errors import FULL, build_disk_error, is_full
from eaves.errors import SpoolDamagedError, SpoolError

FOREIGN = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions that SQLite raises; UnicodeDecodeError, because a message that quotes a damaged schema may not be text."""
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""Exceptions that reading a damaged file raises."""
_ONLY_DAMAGE = (UnicodeDecodeError, sqlite3.IntegrityError)
"""Exceptions that only damage raises, because no statement of Eaves violates a constraint of an intact table."""
_SIGNS = (
    "not a database",
    "malformed",
    "no such column",  # in this and the next ones, the text of a table or trigger was changed and is still SQL
    "no such table",
    "no such index",
    "has no column named",
    "syntax error",
    "unrecognized token",
)
_FULL = "disk is full"
SALVAGE_HINT = "the readable entries are copied to a new file at the next call"
"""Hint of errors about a damaged file."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SpoolError for exceptions of SQLite or the operating system inside the block, which opens a file."""
    try:
        yield
    except (*FOREIGN, OSError) as error:
        if not _is_of_full_disk(path, error):
            raise spool_error(path, error) from error
        disk = build_disk_error(OSError(errno.ENOSPC, ""), path)
        raise SpoolError(disk.message, hint=disk.hint) from error


def _is_of_full_disk(path: Path, error: Exception) -> bool:
    """Return whether an exception means that the disk is full; SQLite reports some of them as I/O errors."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return _FULL in str(error) or ("disk I/O error" in str(error) and is_full(path))


def spool_error(path: Path, error: Exception) -> SpoolError:
    """Return the SpoolError for an exception of SQLite or the operating system."""
    text = str(error)
    damaged = isinstance(error, sqlite3.Error) and any(sign in text for sign in _SIGNS)
    if damaged or isinstance(error, _ONLY_DAMAGE):
        return SpoolDamagedError(f"spool {path}: {text}", hint=SALVAGE_HINT)
    hints = {
        _FULL: f"free disk space at {path.parent}, or lower the spool's limit",
        "locked": f"another process keeps {path} locked; find the process with `fuser {path}`",
        "disk I/O error": f"check the disk that holds {path.parent}",
        "too big": "send a reference to the data (dataref) instead of the data",
    }
    hint = next((hint for sign, hint in hints.items() if sign in text), f"make {path.parent} writable for this user")
    return SpoolError(f"spool {path}: {text}", hint=hint)
