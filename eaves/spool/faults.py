"""What SQLite and the file system complain about, as SpoolError with a hint."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eaves.errors import SpoolError


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SpoolError for what SQLite or the operating system raises inside."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise spool_error(path, error) from error


def spool_error(path: Path, error: Exception) -> SpoolError:
    """The SpoolError for a foreign one."""
    text = str(error)
    full = f"free disk space at {path.parent}, or lower the spool's limit"
    hints = {
        "disk is full": full,
        "No space left": full,
        "not a database": damaged_hint(path),
        "malformed": damaged_hint(path),
        "locked": f"another process keeps {path} locked; look for one that hangs",
        "disk I/O error": f"check the disk that holds {path.parent}",
        "too big": "send a reference to the data (dataref) instead of the data",
    }
    hint = next((hint for sign, hint in hints.items() if sign in text), f"make {path.parent} writable for this user")
    return SpoolError(f"spool {path}: {text}", hint=hint)


def damaged_hint(path: Path) -> str:
    """What to do with a file that can't be read."""
    return f"move {path} aside, salvage it with `sqlite3 FILE .recover`, and start again with a new file"
