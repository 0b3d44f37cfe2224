"""Copying of the readable content of a damaged file into a new file; the damaged file is kept beside it.

SQLite finds damage only where it reads, and a page that a power cut has torn may be any page. Therefore tables are read
in batches, batches that fail are skipped, and every event that carries the digest of its data is checked against it.
The new file is complete and on disk before any file is renamed; when a process is killed while it renames, the next
process can continue.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.files import rename_durably, sync
from eaves.errors import SpoolError
from eaves.events import DATADIGEST, DATAREF
from eaves.spool import retention
from eaves.spool.entry import crc, to_event
from eaves.spool.file import schema
from eaves.spool.file.damaged_file import open_damaged, read_rows, remove_database
from eaves.spool.file.database import complete_path, make_file, open_lease, users_lease
from eaves.spool.file.sqlite_errors import UNREADABLE, translated
from eaves.spool.ledger.salvage import carry_ledger

LOST_LANE = "salvaged"
"""Lane of dead letters for events whose own lane can't be read."""
KEPT_FILES = 2
"""Number of damaged files that are kept; older ones are deleted, so that files of a failing disk don't fill it up."""
_LOOK_BYTES = 64 << 20
_DELIVERY = "seq, lane, eid, state, attempts, not_before, status, reason, died_at"
_EVENT = "eid, source, id, attributes, size_bytes, put_at, data, crc"
_PUT_EVENT = f"INSERT INTO events({_EVENT}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
_OURS = (b"CREATE TABLE deliveries", b"dev.eaves.")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Count:
    """Numbers of entries and events that were copied from a damaged file, or lost.

    Attributes:
        entries: Number of entries that were copied, queued and dead.
        lost: Number of known entries whose event couldn't be read.
        orphans: Number of events without a readable lane, kept as dead letters.
    """

    entries: int = 0
    lost: int = 0
    orphans: int = 0


def replace_damaged(path: Path, *, ledger: bool = False) -> None:
    """Replace a damaged file with a new one.

    Args:
        path: Path of the file.
        ledger: Whether the spool had a ledger, as far as the caller knows; used when the file doesn't show it.

    Raises:
        SpoolError: When another process has the file open, when it isn't a spool, or when the new file can't be
            written. The damaged file is then left unchanged.
    """
    with translated(path), open_lease(path):
        users = users_lease(path)
        if not users.acquire():
            raise SpoolError(f"{path} is damaged, and another process has it open", hint="stop that process")
        try:
            if not complete_path(path).exists():
                if not _is_ours(path):
                    raise SpoolError(f"spool {path}: file is not a database", hint="use another file for the spool")
                _carry(path, ledger=ledger)
            _swap(path)
        finally:
            users.release()


def _carry(path: Path, *, ledger: bool = False) -> None:
    """Copy everything that can be read of a damaged file into a new one, completely or not at all."""
    part = path.with_name(f"{path.name}.salvage")
    remove_database(part)
    count = Count()
    try:
        make_file(part)
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as new:
            schema.ensure(new, part)
            new.execute("BEGIN IMMEDIATE")
            with open_damaged(path, ledger=ledger) as old:
                copied = _copy_deliveries(old, new, count)
                _copy_orphans(old, new, copied, count)
                _copy_seen(old, new)
                carry_ledger(old, new, read_rows)
            new.execute("COMMIT")
    except BaseException:
        remove_database(part)  # on a full disk, the incomplete file would keep other writers from writing
        raise
    rename_durably(part, complete_path(path))
    _log.error(
        "spool %s is damaged: %d entries were copied to a new file, %d are lost, %d events "
        "without an entry in the queue are kept as dead letters of the queue %r",
        path,
        count.entries,
        count.lost,
        count.orphans,
        LOST_LANE,
    )


def _swap(path: Path) -> None:
    """Rename the damaged file and move the new one to its path; a second call completes a call that was interrupted."""
    complete = complete_path(path)
    aside = path.with_name(
        f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(complete.stat().st_mtime))}"
    )
    for end in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{end}").rename(aside.with_name(f"{aside.name}{end}"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    complete.rename(path)
    sync(path.parent)
    _log.error("the damaged spool file is kept as %s", aside)
    kept = sorted(file for file in path.parent.glob(f"{path.name}.damaged-*") if not file.name.endswith("-wal"))
    older = [file for file in kept if file != aside]  # compares names because the clock may have been set back since
    for old in older[: max(0, len(older) - KEPT_FILES + 1)]:
        old.with_name(f"{old.name}-wal").unlink(missing_ok=True)
        old.unlink()


def _is_ours(path: Path) -> bool:
    """Return whether a file was a spool, by SQLite's header or, where it is destroyed, by its content or its log.

    The content of a new spool may be in its log only.
    Source: sqlite.org/fileformat.html, section 1.3: the application id is at offset 68.
    """
    log = path.with_name(f"{path.name}-wal")
    return _is_spool_file(path) or (log.exists() and _is_spool_file(log))


def _is_spool_file(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(100)
        if head[:16] == b"SQLite format 3\0" and head[68:72] == schema.APPLICATION_ID.to_bytes(4, "big"):
            return True
        before, looked = head, len(head)
        while looked < _LOOK_BYTES and (piece := stream.read(1 << 20)):
            if any(sign in before[-64:] + piece for sign in _OURS):
                return True
            before, looked = piece, looked + len(piece)
    return False


def _copy_deliveries(old: sqlite3.Connection, new: sqlite3.Connection, count: Count) -> set[int]:
    """Copy every entry whose event can be read; return the row ids of the copied events."""
    copied: set[int] = set()
    for row in read_rows(old, "deliveries", "seq", _DELIVERY):
        seq, lane, eid, state, *rest = row
        if not isinstance(lane, str) or not isinstance(eid, int):
            continue  # its event, if there is one, counts as an event without a lane
        if eid not in copied:
            event = _event(old, eid)
            if event is None:
                count.lost += 1
                continue
            new.execute(_PUT_EVENT, event)
            copied.add(eid)
        if state not in (schema.QUEUED, schema.DEAD):
            state = schema.DEAD
        if not _is_sound(rest):
            rest = [0, 0.0, 0, "the record of its delivery attempts was on a damaged page", time.time()]
        new.execute("INSERT INTO deliveries(seq, lane, eid) VALUES(?, ?, ?)", (seq, lane, eid))
        new.execute(
            "UPDATE deliveries SET state = ?, attempts = ?, not_before = ?, status = ?, reason = ?, died_at = ?"
            " WHERE seq = ?",
            (state, *rest, seq),
        )
        count.entries += 1
    return copied


def _is_sound(values: Sequence[Any]) -> bool:
    """Return whether attempts, not_before, status, reason and died_at of an entry are values that a spool writes."""
    attempts, not_before, status, reason, died_at = values
    numbers = isinstance(attempts, int) and isinstance(status, int) and isinstance(not_before, float)
    return numbers and isinstance(died_at, float) and isinstance(reason, str) and attempts >= 0 and not_before >= 0


def _copy_orphans(old: sqlite3.Connection, new: sqlite3.Connection, copied: set[int], count: Count) -> None:
    """Copy events whose entry can't be read, as entries of the lane that the indexes give for them.

    Where the indexes give none, an event is queued again if there is only one lane, and kept as a dead letter
    otherwise.
    """
    places: dict[int, tuple[str, str]] | None = None
    lost = []
    for (eid,) in read_rows(old, "events", "eid", "eid"):
        if eid in copied or (event := _event(old, eid)) is None:
            continue
        if places is None:
            places = _read_places(old)
        known = [(seq, *places[seq]) for seq in _read_seqs(old, eid) if seq in places]
        new.execute(_PUT_EVENT, event)
        for seq, lane, state in known:
            new.execute("INSERT OR IGNORE INTO deliveries(seq, lane, eid) VALUES(?, ?, ?)", (seq, lane, eid))
            if state == schema.DEAD:
                retention.make_dead(new, seq, "its record was on a damaged page", 0, time.time())
            count.entries += 1
        if not known:
            lost.append(eid)
    _copy_lost(old, new, lost, count)


def _read_places(old: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Read each entry's lane and state from an index, by sequence number.

    The index is read from both of its ends up to a part that can't be read.
    """
    found: dict[int, tuple[str, str]] = {}
    for order in ("ASC", "DESC"):
        with contextlib.suppress(*UNREADABLE):
            rows = old.execute(
                "SELECT seq, lane, state FROM deliveries INDEXED BY by_due WHERE lane >= ''"  # noqa: S608 - constants
                f" ORDER BY lane {order}, state {order}, not_before {order}, seq {order}"
            )
            for seq, lane, state in rows:
                if isinstance(lane, str):
                    found[seq] = lane, state
            break
    return found


def _read_seqs(old: sqlite3.Connection, eid: int) -> list[int]:
    """Read the sequence numbers of an event's entries from an index, without reading the damaged table."""
    with contextlib.suppress(*UNREADABLE):
        return [row[0] for row in old.execute("SELECT seq FROM deliveries INDEXED BY by_event WHERE eid = ?", (eid,))]
    return []


def _copy_lost(old: sqlite3.Connection, new: sqlite3.Connection, eids: Sequence[int], count: Count) -> None:
    """Put copied events of an unknown lane into the only lane; with several lanes, make them dead letters."""
    lanes = {row[0] for row in new.execute("SELECT lane FROM lanes")}
    with contextlib.suppress(*UNREADABLE):
        lanes |= {row[0] for row in old.execute("SELECT lane FROM lanes")}
    only = lanes.pop() if len(lanes) == 1 else None
    for eid in eids:
        seq = new.execute("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", (only or LOST_LANE, eid)).lastrowid
        if only is None:
            retention.make_dead(new, seq or 0, "its queue entry was on a damaged page", 0, time.time())
            count.orphans += 1
        else:
            count.entries += 1


def _copy_seen(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy the remembered ids, except for the part of the table that can't be read.

    An event whose id is lost may be sent again.
    """
    for order in ("ASC", "DESC"):
        with contextlib.suppress(*UNREADABLE):
            rows = old.execute(f"SELECT key, at FROM seen ORDER BY key {order}")  # noqa: S608 - constants
            for key, at in rows:
                new.execute("INSERT OR IGNORE INTO seen VALUES(?, ?)", (key, at))
            return


def _event(old: sqlite3.Connection, eid: int) -> Sequence[Any] | None:
    """Return an event's row when it can be read and is unchanged since it was put; None otherwise."""
    try:
        columns = _EVENT if schema.has_crc(old) else _EVENT.replace("crc", "NULL")
        row: Sequence[Any] | None = old.execute(
            f"SELECT {columns} FROM events NOT INDEXED WHERE eid = ?",  # noqa: S608 - constants
            (eid,),
        ).fetchone()
        if row is None:
            return None
        event = to_event(row[3], row[6])
    except (*UNREADABLE, ValueError, KeyError, TypeError):
        return None
    referred = not event.data and DATAREF in event.extensions  # its digest is that of the object in the bucket
    digest = "" if referred else event.extensions.get(DATADIGEST, "")
    if digest.startswith("sha256:") and digest != f"sha256:{hashlib.sha256(event.data).hexdigest()}":
        return None
    if row[7] is not None and row[7] != crc(row[3], row[6]):
        return None
    sound = len(row[3]) + len(row[6]) == row[4] and (event.source, event.id) == (row[1], row[2])
    return row if sound and isinstance(row[5], float) else None
