"""Inserting an event and its entries into the spool's tables, within one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.spool.entry import EventRow, to_row
from eaves.spool.ledger import Ledger, content_digest, line_key
from eaves.spool.limits import SpoolLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRequest:
    """An event that is to be stored.

    Attributes:
        row: Values of the event's row in the table `events`.
        lanes: Lanes that get an entry for the event, without repetitions.
        digest: Digest of the event's content for the ledger; empty when the spool has no ledger.
        key: Key of the event's line in the ledger's index; 0 when the spool has no ledger.
    """

    row: EventRow
    lanes: tuple[str, ...]
    digest: bytes
    key: int


def build_put(event: Event, lanes: Collection[str], *, ledger: bool) -> PutRequest:
    """Build the row of an event before the commit that stores it begins."""
    attributes = event.attributes()
    return PutRequest(
        row=to_row(event, attributes),
        lanes=tuple(dict.fromkeys(lanes)),
        digest=content_digest(attributes, event.data) if ledger else b"",
        key=line_key(event.source, event.id) if ledger else 0,
    )


class RemainingSpace:
    """Space that a spool has left, counted within a commit that is the only writer.

    Args:
        db: Connection within the transaction.
        path: Path of the spool's file, for messages.
        limits: Limits of the spool.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, limits: SpoolLimits) -> None:
        self._path = path
        self._limits = limits
        used, entries = db.execute("SELECT queued_bytes, (SELECT total(queued) FROM lanes) FROM usage").fetchone()
        self._used, self._entries = int(used), int(entries)

    def reserve(self, put: PutRequest) -> None:
        """Count an event that is about to be stored.

        Raises:
            SpoolFullError: When the event doesn't fit.
        """
        used, entries, size_bytes = self._used, self._entries, put.row[-1]
        if used + size_bytes > self._limits.max_bytes or entries + len(put.lanes) > self._limits.max_entries:
            raise SpoolFullError(
                f"{self._path} is full: {used} of {self._limits.max_bytes} bytes and {entries} "
                f"of {self._limits.max_entries} entries are used, and {size_bytes} more bytes "
                "don't fit",
                hint="wait until events are delivered, delete entries with `eaves queue purge`, or raise the limit",
            )
        self._used += size_bytes
        self._entries += len(put.lanes)


def store(
    db: sqlite3.Connection,
    put: PutRequest,
    now: float,
    ledger: Ledger | None,
    *,
    is_new: bool = False,
    trims: bool = True,
) -> int:
    """Store an event and its entries; an event without lanes is not stored.

    Args:
        db: Connection within a transaction.
        put: Event to store.
        now: Current time, Unix seconds.
        ledger: Ledger that gets a line for the event, or None.
        is_new: Whether the event is known to have no line in the ledger.
        trims: Whether the ledger deletes lines beyond its limit.

    Returns:
        The sequence number of the last entry.
    """
    if not put.lanes:
        return 0
    sql = "INSERT INTO events(source, id, attributes, data, crc, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?, ?)"
    eid = db.execute(sql, (*put.row, now)).lastrowid
    seq = 0
    for lane in put.lanes:
        seq = db.execute("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", (lane, eid)).lastrowid or 0
    if ledger is not None:
        source, event_id = put.row[:2]
        ledger.add(
            db, source=source, event_id=event_id, key=put.key, digest=put.digest, now=now, eid=eid or 0, is_new=is_new,
            trims=trims,
        )  # fmt: skip
    return seq
