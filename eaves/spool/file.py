"""The file of a spool: connections, errors, and the locks that processes hold on it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

from eaves.base.disk_errors import FULL, build_disk_error, is_full
from eaves.base.files import sync
from eaves.base.locks import take_lock
from eaves.errors import SpoolDamagedError, SpoolError

BUSY_TIMEOUT_S = 30.0
FOREIGN = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions that SQLite raises; UnicodeDecodeError, because a message that quotes a damaged schema may not be text."""
DAMAGE_HINT = "the readable entries are copied to a new file at the next call"
"""Hint of errors about a damaged file."""
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


def connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    """Return a connection with explicit transactions that every thread can use; with the mode `ro` it only reads."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    db.text_factory = lambda text: text.decode(errors="replace")  # damaged text must not fail the whole query
    return db


def make_file(path: Path) -> None:
    """Create an empty file that only its owner can access, and write its name to disk.

    An existing file is never opened: closing it again would drop the locks that this process holds on it.
    Source: sqlite.org/howtocorrupt.html, section 2.2.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        sync(path.parent)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SpoolError for exceptions of SQLite or the operating system inside the block, which opens a file."""
    try:
        yield
    except (*FOREIGN, OSError) as error:
        if not _is_of_full_disk(path, error):
            raise spool_error(path, error) from error
        disk = build_disk_error(OSError(errno.ENOSPC, ""), path)
        raise SpoolError(disk.message, hint=disk.hint) from error


def spool_error(path: Path, error: Exception) -> SpoolError:
    """Return the SpoolError, with a hint, for an exception of SQLite or the operating system."""
    text = str(error)
    damaged = isinstance(error, sqlite3.Error) and any(sign in text for sign in _SIGNS)
    if damaged or isinstance(error, _ONLY_DAMAGE):
        return SpoolDamagedError(f"spool {path}: {text}", hint=DAMAGE_HINT)
    hints = {
        _FULL: f"free disk space at {path.parent}, or lower the spool's limit",
        "locked": f"another process keeps {path} locked; find the process with `fuser {path}`",
        "disk I/O error": f"check the disk that holds {path.parent}",
        "too big": "send a reference to the data (dataref) instead of the data",
    }
    hint = next((hint for sign, hint in hints.items() if sign in text), f"make {path.parent} writable for this user")
    return SpoolError(f"spool {path}: {text}", hint=hint)


def _is_of_full_disk(path: Path, error: Exception) -> bool:
    """Return whether an exception means that the disk is full; SQLite reports some of them as I/O errors."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return _FULL in str(error) or ("disk I/O error" in str(error) and is_full(path))


class Lease:
    """A lock of `eaves.base.locks` that one process holds at a time, for example for the delivery of a lane.

    The operating system releases it when its holder dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lease."""
        return self._fd is not None

    def acquire(self, *, blocking: bool = False, shared: bool = False) -> bool:
        """Acquire the lease; return False when another holder has it.

        Args:
            blocking: Whether to wait for the lease instead of returning False.
            shared: Whether to share the lease with other shared holders; it still excludes exclusive holders.

        Raises:
            SpoolError: When the lock file can't be written.
        """
        if self._fd is None:
            with translated(self.path):
                self._fd = take_lock(self.path, wait=blocking, shared=shared)
        return self.held

    def release(self) -> None:
        """Release the lease.

        The file stays, because removing it would let two processes lock two files of the same name.
        """
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire(blocking=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lease_path(spool: Path, name: str) -> Path:
    """Return the path of the lock file for one lease of a spool (for the delivery of a lane, for example)."""
    return spool.with_name(f"{spool.name}.{quote(name, safe='')}.lease")


def open_lease(path: Path) -> Lease:
    """Return the lease that is held while a file is opened, created or replaced."""
    return Lease(lease_path(path, "open"))


def users_lease(path: Path) -> Lease:
    """Return the lease that every process with the open file shares, so that no process replaces the file meanwhile."""
    return Lease(lease_path(path, "users"))


def replacement_path(path: Path) -> Path:
    """Return the path of the new, complete file while it waits to replace the damaged file at `path`."""
    return path.with_name(f"{path.name}.salvaged")
