"""How an event gets into the tables, within a commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.spool.entry import EventRow, to_row
from eaves.spool.ledger import Ledger, content_digest
from eaves.spool.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """An event that is to be stored.

    Attributes:
        row: The event as its table holds it.
        lanes: Where it is to be delivered, each once.
        digest: Of its content, for the ledger; empty without one.
    """

    row: EventRow
    lanes: tuple[str, ...]
    digest: bytes


def build_put(event: Event, lanes: Collection[str], *, ledger: bool) -> Put:
    """Lay an event out, before the commit that stores it begins."""
    digest = content_digest(event.attributes(), event.data) if ledger else b""
    return Put(row=to_row(event), lanes=tuple(dict.fromkeys(lanes)), digest=digest)


def check_room(db: sqlite3.Connection, path: Path, limits: Limits, put: Put) -> None:
    """Check that a spool has room for an event.

    Raises:
        SpoolFullError: When it hasn't.
    """
    used, entries = db.execute("SELECT queued_bytes, (SELECT total(queued) FROM lanes) FROM usage").fetchone()
    size_bytes = put.row[-1]
    if used + size_bytes > limits.max_bytes or entries + len(put.lanes) > limits.max_entries:
        raise SpoolFullError(
            f"{path} is full: {used} of {limits.max_bytes} bytes and {entries:.0f} of {limits.max_entries}"
            f" entries used, {size_bytes} bytes more were to be put",
            hint="let it be delivered, purge what nobody needs, or raise its limit",
        )


def store(db: sqlite3.Connection, put: Put, now: float, ledger: Ledger | None) -> int:
    """Store an event and its deliveries, and give the number of the last; one without lanes is not stored."""
    if not put.lanes:
        return 0
    sql = "INSERT INTO events(source, id, attributes, data, crc, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?, ?)"
    eid = db.execute(sql, (*put.row, now)).lastrowid
    seq = 0
    for lane in put.lanes:
        seq = db.execute("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", (lane, eid)).lastrowid or 0
    if ledger is not None:
        ledger.add(db, source=put.row[0], event_id=put.row[1], digest=put.digest, now=now, eid=eid or 0)
    return seq
