"""Storing events in the spool's tables, within one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.spool.entry import PutOutcome, PutRequest, to_row
from eaves.spool.ledger import Ledger
from eaves.spool.ledger_schema import content_digest, line_key
from eaves.spool.limits import SpoolLimits, remember
from eaves.spool.schema import seen_key


def build_put(event: Event, lanes: Collection[str], *, ledger: bool) -> PutRequest:
    """Build the row of an event before the commit that stores it begins."""
    attributes = event.attributes()
    return PutRequest(
        row=to_row(event, attributes),
        lanes=tuple(dict.fromkeys(lanes)),
        digest=content_digest(attributes, event.data) if ledger else b"",
        key=line_key(event.source, event.id) if ledger else 0,
    )


def store(
    db: sqlite3.Connection,
    put: PutRequest,
    now: float,
    ledger: Ledger | None,
    *,
    is_new: bool = False,
) -> int:
    """Store an event and its entries; an event without lanes is not stored.

    Args:
        db: Connection within a transaction.
        put: Event to store.
        now: Current time, Unix seconds.
        ledger: Ledger that gets a line for the event, or None.
        is_new: Whether the event is known to have no line in the ledger.

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
        ledger.add(db, put, now=now, eid=eid or 0, is_new=is_new)
    return seq


class PutTransaction:
    """Stores several events within one commit; values that are the same for all of them are read once.

    Args:
        db: Connection within a transaction that is the only writer.
        path: Path of the spool's file, for messages.
        limits: Limits of the spool.
        ledger: Ledger that gets a line for each event, or None.
        now: Current time, Unix seconds.
        keys: Ledger keys of the events to be put with `once`, looked up in one query instead of one by one.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        path: Path,
        *,
        limits: SpoolLimits,
        ledger: Ledger | None,
        now: float,
        keys: Collection[int] = (),
    ) -> None:
        self._db = db
        self._path = path
        self._limits = limits
        self._ledger = ledger
        self._now = now
        self._known = ledger.find_keys(db, keys) if ledger is not None else set()
        sql = "SELECT queued_bytes, (SELECT total(queued) FROM lanes), seen FROM usage"
        self._used, self._entries, self._has_seen = map(int, db.execute(sql).fetchone())

    def put(self, put: PutRequest, *, once: bool) -> PutOutcome:
        """Store one event, unless `once` is true and it was put before.

        Raises:
            SpoolFullError: When the event doesn't fit; the caller must roll back the transaction.
        """
        if once and (outcome := self._recall(put)):
            return outcome
        if put.lanes:
            self._reserve(put)
            store(self._db, put, self._now, self._ledger, is_new=once and put.key not in self._known)
            self._known.add(put.key)
        return PutOutcome.STORED

    def _reserve(self, put: PutRequest) -> None:
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

    def _recall(self, put: PutRequest) -> PutOutcome | None:
        """Return why an event is not to be stored, by the ledger and the remembered ids; None when it is."""
        if self._ledger is not None and put.key in self._known and (outcome := self._ledger.recall(self._db, put)):
            return outcome
        if self._ledger is None or not put.lanes:
            self._has_seen = 1
            key, most = seen_key(put.source, put.event_id), self._limits.seen_max_entries
            is_known = not remember(self._db, put.source, key, self._now, most)
        else:  # the event's line in the ledger is what remembers it
            is_known = bool(self._has_seen) and self._is_seen(put)
        return PutOutcome.REPEATED if is_known else None

    def _is_seen(self, put: PutRequest) -> bool:
        find = "SELECT 1 FROM seen WHERE key = ?"
        return self._db.execute(find, (seen_key(put.source, put.event_id),)).fetchone() is not None
