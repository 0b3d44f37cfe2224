"""The queue over the file: put, take, settle, retry, bury."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote

from eaves.errors import SpoolError, SpoolFullError
from eaves.events import Event
from eaves.spool.database import Database, Version, connect
from eaves.spool.entry import DeadLetter, Entry, EventRow, Puts, to_event, to_row
from eaves.spool.faults import damaged_hint
from eaves.spool.lease import Lease
from eaves.spool.schema import DEAD, QUEUED

MAX_BYTES = 1 << 30
MAX_ENTRIES = 1_000_000
LONGEST_WAIT_S = 86_400.0
"""An entry that isn't due for longer than this is due now: the clock was set back after its back-off was written."""

_ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)


class Spool:
    """The queue. Safe to use from many threads, and from many processes that open the same file; not across a fork.

    Args:
        path: The file; made, with its folder, when it isn't there.
        max_bytes: Most bytes of events (data and attributes) it takes before `put` refuses.
        max_entries: Most deliveries, queued and dead, before `put` refuses.
        clock: Unix seconds.
        connect: How connections are opened.

    Raises:
        SpoolError: When the file can't be opened, is damaged, or isn't a spool of this version. It is left as it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.time,
        connect: Callable[[Path], sqlite3.Connection] = connect,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self._clock = clock
        self._db = Database(path, connect)

    def close(self) -> None:
        """Close the file. Changes under way are finished first; later ones raise SpoolError."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, event: Event, *, lanes: Collection[str] = ("out",), once: bool = False) -> bool:
        """Store an event for these lanes; it is on disk when this returns.

        Args:
            event: What to store.
            lanes: Where it is to be delivered. None at all stores nothing (`once` still remembers it).
            once: Remember the pair (source, id) and store nothing when it was put before.

        Returns:
            False when `once` found that it was put before.

        Raises:
            SpoolFullError: Beyond `max_bytes` or `max_entries`; nothing was stored.
            SpoolError: When it can't be written; don't acknowledge it to anybody.
        """
        row, names = to_row(event), tuple(dict.fromkeys(lanes))

        def store(db: sqlite3.Connection) -> bool:
            if once and not _remember(db, event, self._clock()):
                return False
            if names:
                self._check_room(db, row, names)
                _store(db, row, names, self._clock())
            return True

        return self._db.commit(store)

    def settle(self, entry: Entry, *, puts: Puts = ()) -> None:
        """Release an entry and store what came of it, in one commit: neither happens without the other.

        What is put here is never refused for want of room: it replaces what is released, and refusing it would keep a
        full queue full. An entry that was settled or buried before is left alone, and then nothing is put.

        Raises:
            SpoolError: When it can't be written; the entry is still queued.
        """
        rows = [(to_row(event), tuple(dict.fromkeys(lanes))) for event, lanes in puts]

        def release(db: sqlite3.Connection) -> None:
            if db.execute("DELETE FROM deliveries WHERE seq = ? AND state = ?", (entry.seq, QUEUED)).rowcount:
                for row, lanes in rows:
                    _store(db, row, lanes, self._clock())

        self._db.commit(release)

    def retry(self, entry: Entry, not_before: float, reason: str) -> None:
        """Count a failed attempt; the entry is due again at `not_before`, Unix seconds."""
        sql = "UPDATE deliveries SET attempts = attempts + 1, not_before = ?, reason = ? WHERE seq = ? AND state = ?"
        self._change(sql, not_before, reason, entry.seq, QUEUED)

    def bury(self, entry: Entry, reason: str, status: int) -> None:
        """Count a failed attempt and give up: a dead letter takes up room until it is revived or discarded."""
        sql = (
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, reason = ?, status = ?, died_at = ?"
            " WHERE seq = ? AND state = ?"
        )
        self._change(sql, DEAD, reason, status, self._clock(), entry.seq, QUEUED)

    def revive(self, seq: int) -> bool:
        """Queue a dead letter again, its attempts forgotten; False when there is none of that number."""
        sql = "UPDATE deliveries SET state = ?, attempts = 0, not_before = 0 WHERE seq = ? AND state = ?"
        return self._change(sql, QUEUED, seq, DEAD) > 0

    def discard(self, seq: int) -> bool:
        """Delete a dead letter for good; False when there is none of that number."""
        return self._change("DELETE FROM deliveries WHERE seq = ? AND state = ?", seq, DEAD) > 0

    def seen(self, source: str, event_id: str) -> bool:
        """Whether this pair was put with `once`."""
        return bool(self._db.read("SELECT 1 FROM seen WHERE source = ? AND id = ?", (source, event_id)))

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Remember these ids of a source for as long as if they had been put now; returns how many were remembered."""
        rows = [(self._clock(), source, event_id) for event_id in event_ids]
        sql = "UPDATE seen SET at = ? WHERE source = ? AND id = ?"
        return self._db.commit(lambda db: db.executemany(sql, rows).rowcount)

    def forget(self, before: float) -> int:
        """Forget what `once` remembers from before this time, Unix seconds; returns how many were forgotten."""
        return self._change("DELETE FROM seen WHERE at < ?", before)

    def take(self, lane: str, *, limit: int = 1, now: float, exclude: Collection[int] = ()) -> list[Entry]:
        """The first entries of a lane that are due, in the order they were put. They stay until settled.

        Args:
            lane: Of which lane.
            limit: Most entries returned.
            now: Unix seconds.
            exclude: Sequence numbers to leave out: those in flight.
        """
        rows = self._db.read(
            f"{_ENTRY} WHERE lane = ? AND state = ? AND (not_before <= ? OR not_before > ?)"  # noqa: S608 - a constant
            " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
            (lane, QUEUED, now, now + LONGEST_WAIT_S, json.dumps(list(exclude)), limit),
        )
        return [self._entry(row) for row in rows]

    def next_due(self, lane: str, *, exclude: Collection[int] = ()) -> float | None:
        """When the next entry of a lane is due, Unix seconds; None when nothing but `exclude` is queued."""
        sql = (
            "SELECT min(not_before) FROM deliveries WHERE lane = ? AND state = ?"
            " AND seq NOT IN (SELECT value FROM json_each(?))"
        )
        return cast("float | None", self._db.read(sql, (lane, QUEUED, json.dumps(list(exclude))))[0][0])

    def dead(self, lane: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Dead letters of one lane or all, oldest first."""
        sql = f"{_ENTRY} WHERE state = ? AND lane = coalesce(?, lane) ORDER BY seq LIMIT ?"
        rows = self._db.read(sql, (DEAD, lane, limit))
        return [DeadLetter(entry=self._entry(row), reason=row[6], status=row[7], died_at=row[8]) for row in rows]

    def depth(self, lane: str | None = None) -> int:
        """Entries queued on one lane or all; dead ones don't count."""
        return sum(queued for name, (queued, _) in self.counts().items() if lane in (None, name))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Lane to entries queued and dead, for lanes that have any."""
        rows = self._db.read("SELECT lane, queued, dead FROM lanes WHERE queued + dead > 0")
        return {lane: (queued, dead) for lane, queued, dead in rows}

    def size_bytes(self) -> int:
        """Bytes of the events stored, as `max_bytes` counts them; the file never shrinks, it reuses its room."""
        return int(self._db.read("SELECT size_bytes FROM usage")[0][0])

    def version(self) -> Version:
        """A mark for `wait`. Take it before looking: then nothing that comes in between is missed."""
        return self._db.version()

    def wait(self, version: Version, timeout_s: float) -> bool:
        """Wait until something may have changed since `version`, in any process; False when time ran out first."""
        return self._db.wait(version, timeout_s)

    def wake(self) -> None:
        """End every `wait` in this process."""
        self._db.wake()

    def lease(self, name: str) -> Lease:
        """The right to do something by this name (deliver a lane, say), not yet taken."""
        return Lease(self.path.with_name(f"{self.path.name}.{quote(name, safe='')}.lease"))

    def _change(self, sql: str, *values: Any) -> int:
        return self._db.commit(lambda db: db.execute(sql, values).rowcount)

    def _check_room(self, db: sqlite3.Connection, row: EventRow, lanes: tuple[str, ...]) -> None:
        used, entries = db.execute("SELECT size_bytes, (SELECT total(queued + dead) FROM lanes) FROM usage").fetchone()
        if used + row[-1] > self.max_bytes or entries + len(lanes) > self.max_entries:
            raise SpoolFullError(
                f"{self.path} is full: {used} of {self.max_bytes} bytes and {entries:.0f} of {self.max_entries} entries"
                f" used, {row[-1]} bytes more were to be put",
                hint="let it be delivered, discard dead letters, or raise its limit",
            )

    def _entry(self, row: Any) -> Entry:
        seq, lane, attributes, data, attempts, put_at = row[:6]
        try:
            event = to_event(attributes, data)
        except (ValueError, KeyError) as error:
            raise SpoolError(f"entry {seq} of {self.path} is damaged: {error}", hint=damaged_hint(self.path)) from error
        return Entry(seq=seq, lane=lane, event=event, attempts=attempts, first_put_at=put_at)


def _store(db: sqlite3.Connection, row: EventRow, lanes: tuple[str, ...], now: float) -> None:
    if lanes:
        sql = "INSERT INTO events(source, id, attributes, data, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?)"
        eid = db.execute(sql, (*row, now)).lastrowid
        db.executemany("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", [(lane, eid) for lane in lanes])


def _remember(db: sqlite3.Connection, event: Event, now: float) -> bool:
    return db.execute("INSERT OR IGNORE INTO seen VALUES(?, ?, ?)", (event.source, event.id, now)).rowcount > 0
