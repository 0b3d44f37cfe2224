"""Moving another spool's entries and remembered ids into an open spool.

One agent takes over the spools of several former agents this way.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, StopFlag
from eaves.base.files import make_directory, sync
from eaves.errors import SpoolError
from eaves.spool.file.database import users_lease
from eaves.spool.file.schema import DEAD
from eaves.spool.file.sqlite_errors import translated
from eaves.spool.queue import Spool

BATCH_BYTES = 4_000_000
"""Maximum number of bytes of data that one commit moves from one spool to another, except for a single larger entry. It
bounds the memory that moving takes.
"""
BATCH = 1_000
"""Maximum number of rows that one commit moves."""
CHECKPOINT_PAGES = 1_000
"""Number of pages in SQLite's write-ahead log at which SQLite copies them into the file.

Source: sqlite.org/pragma.html, wal_autocheckpoint.
"""
IN_USE_S, POLL_S = 15.0, 0.1
"""Maximum wait until no process has the other spool open, and the pause between two checks, in seconds. A process
of the local platform that is asked to stop is killed after 10 s.
"""

_SIZES = "SELECT seq, size_bytes FROM deliveries JOIN events USING(eid) ORDER BY seq LIMIT ?"
_ENTRIES = (
    "SELECT lane, state, attempts, not_before, status, reason, died_at, source, id, attributes, size_bytes, put_at,"
    " data, crc FROM deliveries JOIN events USING(eid) WHERE seq <= ? ORDER BY seq"
)
_PUT_EVENT = "INSERT INTO events(source, id, attributes, size_bytes, put_at, data, crc) VALUES(?, ?, ?, ?, ?, ?, ?)"
_PUT_DELIVERY = "INSERT INTO deliveries(lane, eid, attempts, not_before, reason) VALUES(?, ?, ?, ?, ?)"
_DIE = "UPDATE deliveries SET state = ?, status = ?, died_at = ? WHERE seq = ?"
"""Statement that makes a queued entry a dead letter. A dead letter that is moved is inserted as a queued entry first,
because the SQL triggers that count entries expect these two steps.
"""


def take_over(spool: Spool, path: Path, *, wait_s: float = IN_USE_S) -> int:
    """Move every entry and every remembered id of another spool into this one, and delete the other spool's files.

    Entries keep their lane, order, attempts and reasons. No limit refuses them, because they were accepted before.
    After a crash the next call continues; at most the entries of one commit are then stored twice, under the same ids.

    Args:
        spool: Spool that receives the entries.
        path: Path of the other spool's file.
        wait_s: Maximum wait for a process that still has the other file open, in seconds.

    Returns:
        The number of entries that were moved.

    Raises:
        SpoolError: When a file can't be read, written or deleted; entries that were not moved stay in `path`. Nothing
            is moved when the disk has no space for both files, because an agent whose disk is full captures nothing.
    """
    _require_unused(path, wait_s)
    moved = 0
    with Spool(path, limits=spool.limits, clock=spool.clock) as former:
        if former.ledger is not None:
            raise SpoolError(
                f"spool {path} holds a ledger, and a ledger can't be moved",
                hint=("wait until the events of this spool are delivered"),
            )
        _require_space(spool, former)
        while rows := former.database().read("SELECT key, at FROM seen LIMIT ?", (BATCH,)):
            _move_seen(spool, former, rows)
        while sizes := former.database().read(_SIZES, (BATCH,)):
            moved += _move_entries(spool, former, _choose_last(sizes))
    _delete_files(path)
    return moved


def adopt(path: Path, former: Path) -> bool:
    """Rename another spool to `path`.

    Returns:
        False when there is a spool at `path` already, when the other spool's write-ahead log still exists, or when the
        other spool is on another volume.

    Raises:
        SpoolError: When the other spool can't be opened or renamed.
    """
    if path.exists():
        return False
    _require_unused(former, IN_USE_S)
    with Spool(former):
        pass  # opening upgrades the schema; closing writes the write-ahead log into the file
    with translated(former):
        if Path(f"{former}-wal").exists():
            return False
        make_directory(path.parent)
        try:
            former.rename(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False  # another volume
        sync(path.parent)
    _delete_files(former)
    return True


def _require_unused(path: Path, wait_s: float) -> None:
    """Wait until no process has a spool open, for example an agent that is still stopping.

    Raises:
        SpoolError: When a process still has it open after `wait_s` seconds.
    """
    users = users_lease(path)
    deadline = SYSTEM.monotonic() + wait_s
    pause = StopFlag()
    while not users.acquire():
        if SYSTEM.monotonic() > deadline:
            raise SpoolError(f"spool {path} is still used by another process", hint=f"fuser {path}")
        pause.wait(POLL_S)
    users.release()


def _require_space(spool: Spool, former: Spool) -> None:
    """Check that the disk has space for a second copy of the entries and for the logs of both files.

    Where SQLite overwrites what it deletes, the other spool's log grows like this spool's log.

    Raises:
        SpoolError: When the space is too small.
    """
    (largest,) = former.database().read("SELECT COALESCE(MAX(size_bytes), 0) FROM events")[0]
    page, pages, empty = (_pragma(former, name) for name in ("page_size", "page_count", "freelist_count"))
    size = (pages - empty) * page
    needed = size + 2 * (min(size, CHECKPOINT_PAGES * page) + min(size, max(BATCH_BYTES, largest)))
    path = spool.database().path
    free = shutil.disk_usage(path.parent).free + _pragma(spool, "freelist_count") * _pragma(spool, "page_size")
    if free < needed:
        place = f"moving it needs {needed / 1e6:.1f} MB, but {free / 1e6:.1f} MB are free"
        raise SpoolError(f"{place} on the disk that holds {path}", hint="free space on that disk")


def _pragma(spool: Spool, name: str) -> int:
    return int(spool.database().read(f"PRAGMA {name}")[0][0])


def _move_seen(spool: Spool, former: Spool, rows: Sequence[Any]) -> None:
    sql = "INSERT OR IGNORE INTO seen VALUES(?, ?)"
    spool.database().commit(lambda db: db.executemany(sql, rows).rowcount)
    keys = [(key,) for key, _ in rows]
    former.database().commit(lambda db: db.executemany("DELETE FROM seen WHERE key = ?", keys).rowcount)


def _choose_last(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the sequence number of the last entry that the next commit moves."""
    total, last = 0, sizes[0][0]
    for seq, size_bytes in sizes:
        total += size_bytes
        if total > BATCH_BYTES:
            break
        last = seq
    return last


def _move_entries(spool: Spool, former: Spool, last: int) -> int:
    rows = former.database().read(_ENTRIES, (last,))

    def put(db: sqlite3.Connection) -> int:
        for lane, state, attempts, not_before, status, reason, died_at, *event in rows:
            eid = db.execute(_PUT_EVENT, event).lastrowid
            seq = db.execute(_PUT_DELIVERY, (lane, eid, attempts, not_before, reason)).lastrowid
            if state == DEAD:
                db.execute(_DIE, (state, status, died_at, seq))
        return len(rows)

    moved = spool.database().commit(put, tuple({row[0] for row in rows}))
    former.database().commit(lambda db: db.execute("DELETE FROM deliveries WHERE seq <= ?", (last,)).rowcount)
    return moved


def _delete_files(path: Path) -> None:
    beside = [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm")]
    with translated(path):
        for file in (path, *beside, *path.parent.glob(f"{path.name}.*.lease")):
            file.unlink(missing_ok=True)
