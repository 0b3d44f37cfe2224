"""Opening, writing with group commit, reading and watching of a spool's SQLite file.

Calls that several threads make at the same time share one commit: while one thread commits, the changes of the others
gather, and the first of those threads to wake commits all of them.

Source: SQLite's write-ahead log (sqlite.org/wal.html) and `PRAGMA synchronous` (sqlite.org/pragma.html): WAL with FULL
syncs the log at every commit, so a commit survives power loss.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from eaves.base.clock import SYSTEM, Clock
from eaves.base.files import make_directory
from eaves.errors import SpoolDamagedError, SpoolError
from eaves.spool import ledger_schema, schema
from eaves.spool.file import (
    FOREIGN,
    connect,
    make_file,
    open_lease,
    replacement_path,
    spool_error,
    translated,
    users_lease,
)
from eaves.spool.ledger import LedgerLimits

T = TypeVar("T")
Version = tuple[tuple[str, ...], tuple[int, ...], int]
"""Version of some lanes' content: while two versions are equal, nothing has been added to them in between."""

POLL_S = 1.0
"""Interval at which one of the waiting threads checks for changes by other processes, in seconds. Changes by this
process wake the threads at once.
"""
READER_CACHE_KB = 512
"""Size of the page cache of the connection that reads, in KiB; SQLite's default is 2,000.

Each commit by another connection empties the cache, so a larger one would only take memory.
Source: sqlite.org/pragma.html, `cache_size`.
"""
PAGE_BYTES = 2048
"""Size of a page. A commit writes every page that it changed, mostly small tables and indexes, so half of SQLite's
default makes an image cost a third less of the disk.
"""
CHECKPOINT_BYTES = 4 << 20
"""Size of the write-ahead log at which its pages are copied into the file. Pages that changed several times until then
are copied once.
"""
WAL_LIMIT_BYTES = 64 << 20
"""Size in bytes to which SQLite truncates the write-ahead log after a burst."""

ERASE = "FAST"
"""Value of secure_delete: deleted content is overwritten only where that writes no additional page.

With the value ON, the default of Debian's SQLite, a deleted image would be overwritten with zeros on disk.
Source: sqlite.org/pragma.html, secure_delete.
"""


@dataclass(slots=True)
class _Change(Generic[T]):
    """A change to the database that waits for the next shared commit, and then the result of the change."""

    apply: Callable[[sqlite3.Connection], T]
    lanes: Collection[str]
    done: bool = False
    result: T | None = None
    error: Exception | None = None


class Database:
    """One spool file, with one connection to write and one to read.

    Many threads can use one object, and many processes can open the same file; an object can't be used across a fork.

    Attributes:
        path: Path of the file.
        damaged: Whether SQLite has found the file damaged; then nothing is written to it any more.
        has_ledger: Whether the file has a ledger.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        *,
        clock: Clock = SYSTEM,
        ledger: bool = False,
        limits: LedgerLimits | None = None,
    ) -> None:
        self.path = path
        self.damaged = False
        self._clock = clock
        self._pending: list[_Change[Any]] = []
        self._committing = False
        self._turn = threading.Condition()
        self._read_lock = threading.Lock()
        self._changed = threading.Condition()
        self._lane_changes: dict[str, int] = {}
        self._all_changes = 0
        self._polled_at = float("-inf")
        self._closed = False
        self._users = users_lease(path)
        with translated(path), contextlib.ExitStack() as opened:
            make_directory(path.parent)
            # Only one process opens the file at a time, because switching a new file to WAL needs exclusive access and
            # SQLite doesn't wait for it.
            with open_lease(path):
                if replacement_path(path).exists():
                    raise SpoolDamagedError(f"a process was killed while it replaced {path}")
                opened.callback(self._users.release)
                self._users.acquire(blocking=True, shared=True)
                make_file(path)
                self._writer = opened.enter_context(contextlib.closing(connect(path)))
                self._writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}")
                self._writer.execute("PRAGMA synchronous = FULL")
                self._writer.execute(f"PRAGMA secure_delete = {ERASE}")
                self._writer.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
                schema.ensure(self._writer, path)
                if ledger:
                    ledger_schema.ensure(self._writer, limits)
                self.has_ledger = ledger_schema.exists(self._writer)
                self._inode = path.stat().st_ino
                self._reader = opened.enter_context(contextlib.closing(connect(path)))
                self._reader.execute("PRAGMA query_only = ON")
                self._reader.execute(f"PRAGMA cache_size = -{READER_CACHE_KB}")
                self._polled = int(self._reader.execute("PRAGMA data_version").fetchone()[0])
            opened.pop_all()

    def close(self) -> None:
        """Close the file after the commit in progress; every later call raises SpoolError."""
        with self._turn:
            self._turn.wait_for(lambda: not self._committing)
            with self._read_lock:
                if self._closed:
                    return
                self._closed = True
                self._reader.close()
                self._writer.close()
                self._users.release()
        self.wake()

    def is_replaced(self) -> bool:
        """Return whether another process has replaced the file by a new one."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return False

    def commit(self, change: Callable[[sqlite3.Connection], T], lanes: Collection[str] = ()) -> T:
        """Apply a change; it is on disk when this method returns. When the change raises, it is rolled back.

        Args:
            change: Function that is called with the connection, within the transaction.
            lanes: Lanes that get new entries to deliver; threads that wait for one of them wake.

        Returns:
            The result of `change`.

        Raises:
            SpoolError: When the change, or the commit that it shares with others, can't be written.
        """
        waiting = _Change(change, lanes)
        with self._turn:
            self._pending.append(waiting)
            self._turn.wait_for(lambda: waiting.done or not self._committing)
            group: list[_Change[Any]] = []
            if not waiting.done:
                group, self._pending = self._pending, []
                self._committing = True
        if group:
            self._commit_group(group)
        if isinstance(waiting.error, FOREIGN):
            raise self._translated(waiting.error) from waiting.error
        if waiting.error is not None:
            raise waiting.error
        return cast(T, waiting.result)

    def read(self, sql: str, values: Sequence[Any] = (), *, while_: Callable[[Any], bool] | None = None) -> list[Any]:
        """Return the rows of a query, or those before the first one for which `while_` is false.

        Raises:
            SpoolError: When the file can't be read.
        """
        with self._read_lock:
            self._check_open()
            try:
                with contextlib.closing(self._reader.execute(sql, values)) as rows:  # an open one keeps the log long
                    return rows.fetchall() if while_ is None else list(takewhile(while_, rows))
            except FOREIGN as error:
                raise self._translated(error) from error

    def version(self, *lanes: str) -> Version:
        """Return the current version of the lanes' content."""
        with self._changed:
            return self._version(lanes)

    def _version(self, lanes: tuple[str, ...]) -> Version:
        return lanes, tuple(self._lane_changes.get(lane, 0) for lane in lanes), self._all_changes

    def wait(self, version: Version, timeout_s: float) -> bool:
        """Wait until one of the lanes may have changed since `version`; return False after `timeout_s` seconds."""
        deadline = self._clock.monotonic() + timeout_s
        while self.version(*version[0]) == version:
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._poll()
            with self._changed:
                if self._version(version[0]) == version:
                    self._clock.wait(self._changed, min(POLL_S, left_s))
        return True

    def wake(self, lane: str | None = None) -> None:
        """End every `wait` in this process, or every `wait` for one lane."""
        with self._changed:
            if lane is None:
                self._all_changes += 1
            else:
                self._lane_changes[lane] = self._lane_changes.get(lane, 0) + 1
            self._changed.notify_all()

    def _poll(self) -> None:
        """Check whether another process has written; one check in `POLL_S` serves all threads that wait.

        Source: `PRAGMA data_version` changes with the commits of every other connection, including this process's
        writer.
        """
        with self._changed:
            now = self._clock.monotonic()
            if now - self._polled_at < POLL_S:
                return
            self._polled_at = now
        seen = int(self.read("PRAGMA data_version")[0][0])
        with self._changed:
            before, self._polled = self._polled, seen
        if seen != before:
            self.wake()

    def _commit_group(self, group: list[_Change[Any]]) -> None:
        """Apply all changes in one transaction. When the commit fails, all of them fail and none is acknowledged."""
        failure: Exception | None = SpoolError(f"writing {self.path} was interrupted")
        try:
            self._check_open()
            self._writer.execute("BEGIN IMMEDIATE")
            if len(group) == 1:
                # No savepoint: for one, SQLite would copy each page that a statement changes into a file.
                group[0].result = group[0].apply(self._writer)
            else:
                for change in group:
                    _apply(self._writer, change)
            self._writer.execute("COMMIT")
            failure = None
        except Exception as error:  # noqa: BLE001 - every caller that waits raises it
            failure = error
        finally:
            if failure is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
            with self._turn:
                for change in group:
                    change.error = failure or change.error
                    change.done = True
                self._committing = False
                self._turn.notify_all()
        if failure is None:
            self._notify_readers(group)

    def _notify_readers(self, group: list[_Change[Any]]) -> None:
        with self._changed:
            lanes = {lane for change in group for lane in change.lanes}
            for lane in lanes:
                self._lane_changes[lane] = self._lane_changes.get(lane, 0) + 1
            if lanes:
                self._changed.notify_all()

    def _translated(self, error: Exception) -> SpoolError:
        found = spool_error(self.path, error)
        self.damaged = self.damaged or isinstance(found, SpoolDamagedError)
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise SpoolError(f"{self.path} is closed")


def _apply(db: sqlite3.Connection, change: _Change[Any]) -> None:
    """Apply one change of a group that shares a transaction.

    When the change fails, the other changes aren't affected unless the failure ended the transaction.
    """
    db.execute("SAVEPOINT change")
    try:
        change.result = change.apply(db)
    except Exception as error:
        if not db.in_transaction:
            raise
        db.execute("ROLLBACK TO change")
        change.error = error
    db.execute("RELEASE change")
