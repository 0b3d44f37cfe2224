"""The file of a spool, which is replaced by a new one when it is found damaged.

The readable rows whose checksum fits are copied into the new file, and the damaged file is kept beside it. The new file
is complete and on disk before any file is renamed; when a process is killed while it renames, the next process
continues. SQLite finds damage only where it reads, so damage may show at any time.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eaves.base.clock import Clock
from eaves.base.files import rename_durably, sync
from eaves.errors import SpoolDamagedError, SpoolError
from eaves.spool import ledger_schema, schema
from eaves.spool.database import Database
from eaves.spool.entry import build_entry, to_row
from eaves.spool.file import connect, make_file, open_lease, replacement_path, translated, users_lease
from eaves.spool.ledger import LedgerLimits
from eaves.spool.limits import make_dead

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""Exceptions that reading a damaged file raises."""
REPAIR_PAUSES = 10.0
"""Factor of the pause after a damaged file could not be replaced, for example on a full disk: the pause is the duration
of the failed attempt times this factor.
"""
MAX_NUMBER = (1 << 63) - 1
_DELIVERY = "seq, lane, eid, state, status, reason"
_ENTRY = "SELECT ?, ?, attributes, data, 0, put_at, crc FROM events NOT INDEXED WHERE eid = ?"
_PUT_EVENT = (
    "INSERT INTO events(eid, source, id, attributes, data, crc, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
)
_SCHEMA_BYTES = 1 << 20
"""Number of bytes at the beginning of a file among which the text of its schema is."""

_log = logging.getLogger(__name__)


class SpoolFile:
    """An open spool file, which many threads can use.

    Args:
        path: Path of the file, which is created together with its folder when it doesn't exist.
        connect: Function that opens a connection to the file.
        clock: Clock for monotonic time.
        ledger: Limits of the ledger that is created when the file has none; None creates none.

    Attributes:
        current: The file as it was opened last, damaged or not.

    Raises:
        SpoolError: When the file can't be opened, or isn't a spool that this version reads. The file is left unchanged.
    """

    def __init__(
        self, path: Path, connect: Callable[[Path], sqlite3.Connection], *, clock: Clock, ledger: LedgerLimits | None
    ) -> None:
        self._path = path
        self._connect = connect
        self._clock = clock
        self._ledger = ledger
        self._swap = threading.Lock()
        self._repair_at = float("-inf")
        self._closed = self.has_ledger = False
        try:
            self.current = self._open()
        except SpoolDamagedError:
            replace_damaged(path)
            self.current = self._open()
        self.has_ledger = self.current.has_ledger

    def close(self) -> None:
        """Close the file after the commit in progress; every later call raises SpoolError."""
        with self._swap:
            self._closed = True
            self.current.close()

    def database(self) -> Database:
        """Return the open file, which is replaced first when it was found damaged.

        Raises:
            SpoolError: When the file is damaged and can't be replaced.
        """
        if not self.current.damaged:
            return self.current
        with self._swap:
            if self.current.damaged and not self._closed:
                self.current.close()
                self._repair()
            return self.current

    def _repair(self) -> None:
        """Replace a damaged file. After a failure the next attempt waits ten times as long as the failed one took."""
        began = self._clock.monotonic()
        if began < self._repair_at:
            raise SpoolError(f"{self._path} is damaged and can't be replaced yet; the next try follows soon")
        try:
            if not self.current.is_replaced():
                replace_damaged(self._path)
            self.current = self._open()
        except SpoolError:
            now = self._clock.monotonic()
            self._repair_at = now + REPAIR_PAUSES * (now - began)
            raise

    def _open(self) -> Database:
        ledger = self.has_ledger or self._ledger is not None
        return Database(self._path, self._connect, clock=self._clock, ledger=ledger, limits=self._ledger)


def replace_damaged(path: Path) -> None:
    """Replace a damaged file with a new one that has its readable entries; the damaged file becomes `NAME.damaged`.

    Raises:
        SpoolError: When another process has the file open, when it isn't a spool, or when the new file can't be
            written. The damaged file is then left unchanged.
    """
    with translated(path), open_lease(path):
        users = users_lease(path)
        if not users.acquire():
            raise SpoolError(f"{path} is damaged, and another process has it open", hint="stop that process")
        try:
            if not replacement_path(path).exists():
                if not _is_spool(path):
                    raise SpoolError(f"spool {path}: file is not a database", hint="use another file for the spool")
                _copy(path)
            _swap(path)
        finally:
            users.release()


def _is_spool(path: Path) -> bool:
    """Return whether a file was a spool, by SQLite's header or, where it is destroyed, by the text of the schema.

    Source: sqlite.org/fileformat.html, section 1.3: the application id is at offset 68.
    """
    with path.open("rb") as stream:
        head = stream.read(_SCHEMA_BYTES)
    return head[68:72] == schema.APPLICATION_ID.to_bytes(4, "big") or b"ON deliveries" in head


def _copy(path: Path) -> None:
    """Copy what can be read of a damaged file into a new one, completely or not at all."""
    part = path.with_name(f"{path.name}.salvage")
    _remove(part)
    try:
        make_file(part)
        with contextlib.closing(connect(part)) as new:
            schema.ensure(new, part)
            new.execute("BEGIN IMMEDIATE")
            with contextlib.closing(connect(path, mode="ro")) as old:
                copied, lost = _copy_entries(old, new)
                for row in _read_seen(old):
                    new.execute("INSERT OR IGNORE INTO seen VALUES(?, ?, ?, ?)", row)
                _copy_ledger(old, new)
            new.execute("COMMIT")
    except BaseException:
        _remove(part)  # on a full disk, the incomplete file would keep other writers from writing
        raise
    _remove(_aside(path))
    rename_durably(part, replacement_path(path))
    _log.error(
        "spool %s is damaged: %d entries were copied to a new file, %d more were found and can't be read; "
        "the damaged file is kept as %s",
        path,
        copied,
        lost,
        _aside(path),
    )


def _swap(path: Path) -> None:
    """Rename the damaged file and move the new one to its path; a second call completes a call that was interrupted."""
    for end in ("", "-wal"):  # beside the new file, SQLite would take the log for that one's
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{end}").rename(f"{_aside(path)}{end}")
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    replacement_path(path).rename(path)
    sync(path.parent)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _remove(path: Path) -> None:
    """Delete a database and the files that SQLite keeps beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _read_seen(db: sqlite3.Connection) -> Iterator[Any]:
    """Yield the remembered ids by their key, but none from the first to the last unreadable page.

    Those behind them come last, backwards.
    """
    sql, last = "SELECT key, at, source, options FROM seen NOT INDEXED ORDER BY key", None
    try:
        for row in db.execute(sql):
            yield row
            last = row[0]
    except UNREADABLE:
        with contextlib.suppress(*UNREADABLE, TypeError):
            for row in db.execute(f"{sql} DESC"):
                if last is not None and row[0] <= last:
                    return
                yield row


def _read_deliveries(db: sqlite3.Connection) -> Iterator[Any]:
    """Yield the readable entries by their number.

    After an unreadable page, twice as many numbers are skipped each time until an entry can be read; then the entries
    between that page and this entry are read in reverse order.
    """
    sql = f"SELECT {_DELIVERY} FROM deliveries NOT INDEXED WHERE seq > ? AND seq <= ? ORDER BY seq"  # noqa: S608 - constants
    last, step = 0, 0
    while (begin := last + step) < MAX_NUMBER:
        try:
            for row in db.execute(sql, (begin, MAX_NUMBER)):
                if row[0] <= begin:  # a page that holds what was written for another one
                    continue
                if step:
                    yield from _read_back(db, sql, last, begin)
                yield row
                last = begin = row[0]
                step = 0
        except UNREADABLE:
            step = max(1, 2 * step)
        else:
            yield from _read_back(db, sql, last, begin)
            return


def _read_back(db: sqlite3.Connection, sql: str, low: int, high: int) -> Iterator[Any]:
    with contextlib.suppress(*UNREADABLE):
        yield from db.execute(f"{sql} DESC", (low, high))


def _copy_entries(old: sqlite3.Connection, new: sqlite3.Connection) -> tuple[int, int]:
    """Copy each entry whose event has the right checksum; return how many were copied, and how many were not.

    The row of an entry has no checksum, so its attempts begin anew. A dead letter stays one.
    """
    copied, lost, known = 0, 0, set[int]()
    for seq, lane, eid, state, status, reason in _read_deliveries(old):
        if new.execute("SELECT 1 FROM deliveries WHERE seq = ?", (seq,)).fetchone():
            continue  # a page that holds what was written for another one has its rows twice
        if not isinstance(lane, str) or not (eid in known or _copy_event(old, new, (seq, lane, eid))):
            lost += 1
            continue
        known.add(eid)
        copied += 1
        new.execute("INSERT INTO deliveries(seq, lane, eid) VALUES(?, ?, ?)", (seq, lane, eid))
        if state != schema.QUEUED:
            make_dead(new, seq, str(reason), status if isinstance(status, int) else 0, time.time())
    return copied, lost


def _copy_event(old: sqlite3.Connection, new: sqlite3.Connection, entry: tuple[int, str, Any]) -> bool:
    """Copy an entry's event; return False when it can't be read, or has changed since it was put."""
    try:
        found = build_entry(old.execute(_ENTRY, entry).fetchone())
    except (*UNREADABLE, ValueError, KeyError, TypeError):
        return False
    put_at = found.first_put_at if isinstance(found.first_put_at, float) else time.time()
    new.execute(_PUT_EVENT, (entry[-1], *to_row(found.event), put_at))
    return True


def _copy_ledger(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Begin the ledger anew, with a line for each entry that was copied.

    Lines get new numbers, above all earlier ones, which count as deleted.
    """
    try:
        if not ledger_schema.exists(old):
            return
        (last,) = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'ledger'").fetchone() or (0,)
        ignored = ledger_schema.read_ignored(old)
    except UNREADABLE:
        return
    schema.run(new, ledger_schema.TABLES)
    ledger_schema.ignore(new, ignored)
    new.execute("INSERT INTO sqlite_sequence VALUES('ledger', ?)", (last,))
    new.execute("UPDATE ledger_totals SET deleted = ?", (last,))
    ledger_schema.follow_entries(new)
