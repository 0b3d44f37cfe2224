"""Storing several events in one commit; values that are the same for all of them are read once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path

from eaves.spool.entry import PutOutcome
from eaves.spool.file.schema import seen_key
from eaves.spool.ledger import NO_LINE, Ledger, Recalled
from eaves.spool.limits import SpoolLimits
from eaves.spool.storage import PutRequest, RemainingSpace, store

Remember = Callable[[sqlite3.Connection, bytes, float], bool]
"""Function that remembers an event's id with a time, and returns False when the id was remembered already."""


class PutTransaction:
    """Stores several events within one commit.

    Args:
        db: Connection within a transaction that is the only writer.
        path: Path of the spool's file, for messages.
        limits: Limits of the spool.
        ledger: Ledger that gets a line for each event, or None.
        now: Current time, Unix seconds.
        remember: Function that remembers an id for `once`.
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
        remember: Remember,
        keys: Collection[int] = (),
    ) -> None:
        self._db = db
        self._room = RemainingSpace(db, path, limits)
        self._ledger = ledger
        self._now = now
        self._remember = remember
        self._known = ledger.find_keys(db, keys) if ledger is not None else set()
        self._lines_left = ledger.room(db) if ledger is not None else 0
        self._has_seen = bool(db.execute("SELECT seen FROM usage").fetchone()[0])

    def put(self, put: PutRequest, *, once: bool) -> PutOutcome:
        """Store one event, unless it was put before.

        Args:
            put: Event to store.
            once: Whether an event that was put before is skipped.

        Raises:
            SpoolFullError: When the event doesn't fit; the caller must roll back the transaction.
        """
        is_new = False
        if once:
            recalled = self._recall(put)
            if recalled.outcome is not None:
                return recalled.outcome
            is_new = not recalled.has_line
        if put.lanes:
            self._room.reserve(put)
            self._store(put, is_new)
        return PutOutcome.STORED

    def _store(self, put: PutRequest, is_new: bool) -> None:
        trims = self._lines_left <= 0
        store(self._db, put, self._now, self._ledger, is_new=is_new, trims=trims)
        if self._ledger is not None:
            self._known.add(put.key)
            self._lines_left = self._ledger.room(self._db) if trims else self._lines_left - 1

    def _recall(self, put: PutRequest) -> Recalled:
        """Return what the ledger and the remembered ids say about an event."""
        source, event_id = put.row[:2]
        line = NO_LINE
        if self._ledger is not None and put.key in self._known:
            line = self._ledger.recall(self._db, source=source, event_id=event_id, digest=put.digest)
        if line.outcome is not None:
            return line
        if self._ledger is not None and put.lanes:  # the event's line in the ledger is what remembers it
            is_known = self._is_seen(source, event_id)
        else:
            self._has_seen = True
            is_known = not self._remember(self._db, seen_key(source, event_id), self._now)
        return Recalled(has_line=line.has_line, outcome=PutOutcome.REPEATED) if is_known else line

    def _is_seen(self, source: str, event_id: str) -> bool:
        if not self._has_seen:
            return False
        find = "SELECT 1 FROM seen WHERE key = ?"
        return self._db.execute(find, (seen_key(source, event_id),)).fetchone() is not None
