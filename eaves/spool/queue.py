"""The queue over the file: put, peek, ack, retry, dead-letter."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

from eaves.clock import SYSTEM, Clock
from eaves.errors import SpoolDamagedError, SpoolError, SpoolFullError
from eaves.events import Event
from eaves.spool import retention
from eaves.spool.database import Database, Version, connect
from eaves.spool.entry import DeadLetter, Entry, EventRow, LaneStatus, Puts, to_event, to_row
from eaves.spool.lease import Lease, lease_path
from eaves.spool.limits import Limits
from eaves.spool.salvage import replace_damaged
from eaves.spool.schema import DEAD, QUEUED, seen_key

LONGEST_WAIT_S = 7_200.0
"""An entry that isn't due for longer than this is due now: the clock was set back after its back-off was written, as no
pause is longer than an hour."""
REPAIR_PAUSES = 10.0
"""Pause after a damaged file could not be replaced, on a full disk say, in lengths of that attempt."""
BATCH = 1_000
"""Rows that one commit changes at most where it could be any number, so that deliveries go on beside it."""

_ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)
_DUE = (
    # What failed before comes by the time at which it is due, which is about its order; sorting all of it by number at
    # each look would take longer the more there is.
    "SELECT seq FROM (SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued' AND not_before = 0 AND seq > ?3"
    " AND seq NOT IN (SELECT value FROM json_each(?4)) ORDER BY seq LIMIT ?5)"
    " UNION ALL SELECT seq FROM (SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued' AND not_before > 0"
    " AND not_before <= ?2 AND seq > ?3 AND seq NOT IN (SELECT value FROM json_each(?4)) ORDER BY not_before LIMIT ?5)"
    " UNION ALL SELECT seq FROM (SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued'"
    " AND not_before > ?2 + ?6 AND seq > ?3 AND seq NOT IN (SELECT value FROM json_each(?4))"
    " ORDER BY not_before LIMIT ?5) ORDER BY seq LIMIT ?5"
)
_NEWEST = (
    "SELECT seq FROM deliveries WHERE lane = ? AND state = 'queued' AND not_before = 0"
    " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq DESC LIMIT 1"
)

_LANES = (
    "SELECT lane, queued, dead, queued_bytes, dead_bytes, (SELECT put_at FROM events JOIN deliveries USING(eid)"
    " WHERE seq = (SELECT min(seq) FROM (SELECT min(seq) AS seq FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before = 0 UNION ALL SELECT min(seq) FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before > 0))) FROM lanes ORDER BY lane"
)

_log = logging.getLogger(__name__)


class Spool:
    """The queue. Safe to use from many threads, and from many processes that open the same file; not across a fork.

    A file that is found damaged, at the start or later, is replaced at the next call by a new one that holds every
    entry that can be read; the damaged one is kept beside it (see `eaves.spool.salvage`).

    Args:
        path: The file; made, with its folder, when it isn't there.
        limits: How much it keeps.
        clock: Time.
        connect: How connections are opened.

    Raises:
        SpoolError: When the file can't be opened, or isn't a spool that this version reads. It is left as it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits | None = None,
        clock: Clock = SYSTEM,
        connect: Callable[[Path], sqlite3.Connection] = connect,
    ) -> None:
        self.path = path
        self.limits = limits or Limits()
        self.clock = clock
        self._connect = connect
        self._swap = threading.Lock()
        self._repair_at = float("-inf")
        self._closed = False
        self._kept_at = float("-inf")
        self._added = 0
        try:
            self._db = self._open()
        except SpoolDamagedError:
            replace_damaged(path)
            self._db = self._open()

    def close(self) -> None:
        """Close the file. Changes under way are finished first; later ones raise SpoolError."""
        with self._swap:
            self._closed = True
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
            now = self.clock.now()
            if once and not self._remember(db, seen_key(event.source, event.id), now):
                return False
            if names:
                self._check_room(db, row, names)
                _store(db, row, names, now)
            return True

        return self.database().commit(store, names)

    def peek(
        self, lane: str, *, limit: int = 1, now: float, exclude: Collection[int] = (), after: int = 0
    ) -> list[Entry]:
        """The first entries of a lane that are due. They stay until they are released.

        In the order they were put; of those that failed before, the one that has been due for longest first.

        Args:
            lane: Of which lane.
            limit: Most entries returned.
            now: Unix seconds.
            exclude: Sequence numbers to leave out: those in flight.
            after: Only entries with a higher sequence number.
        """
        values = (lane, now, after, json.dumps(list(exclude)), limit, LONGEST_WAIT_S)
        rows = self.database().read(f"{_ENTRY} WHERE seq IN ({_DUE}) ORDER BY seq", values)
        return [entry for row in rows if (entry := self._readable(row)) is not None]

    def peek_newest(self, lane: str, *, exclude: Collection[int] = ()) -> list[Entry]:
        """The newest entry of a lane that was never tried; none when there is none."""
        rows = self.database().read(f"{_ENTRY} WHERE seq = ({_NEWEST})", (lane, json.dumps(list(exclude))))
        return [entry for row in rows if (entry := self._readable(row)) is not None]

    def next_due(self, lane: str, *, exclude: Collection[int] = ()) -> float | None:
        """When the next entry of a lane is due, Unix seconds; None when nothing but `exclude` is queued."""
        sql = (
            "SELECT not_before FROM deliveries WHERE lane = ? AND state = 'queued'"
            " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY not_before LIMIT 1"
        )
        rows = self.database().read(sql, (lane, json.dumps(list(exclude))))
        return float(rows[0][0]) if rows else None

    def ack(self, entry: Entry, *, puts: Puts = ()) -> None:
        """Release an entry and store what came of it, in one commit: neither happens without the other.

        What is put here is never refused for want of room: it replaces what is released, and refusing it would keep a
        full queue full. An entry that was released or dead-lettered before is left alone, and then nothing is put.

        Raises:
            SpoolError: When it can't be written; the entry is still queued.
        """
        rows = [(to_row(event), tuple(dict.fromkeys(lanes))) for event, lanes in puts]

        def release(db: sqlite3.Connection) -> None:
            if db.execute("DELETE FROM deliveries WHERE seq = ? AND state = ?", (entry.seq, QUEUED)).rowcount:
                for row, lanes in rows:
                    _store(db, row, lanes, self.clock.now())

        self.database().commit(release, {lane for _, lanes in rows for lane in lanes})

    def retry(self, entry: Entry, not_before: float, reason: str) -> None:
        """Count a failed attempt; the entry is due again at `not_before`, Unix seconds."""
        sql = "UPDATE deliveries SET attempts = attempts + 1, not_before = ?, reason = ? WHERE seq = ? AND state = ?"
        values = (not_before, reason, entry.seq, QUEUED)
        self.database().commit(lambda db: db.execute(sql, values), (entry.lane,))

    def dead_letter(self, entry: Entry, reason: str, status: int) -> None:
        """Count a failed attempt and give up: the entry is kept within the dead letters' budget.

        Raises:
            SpoolFullError: When that budget is used up and its policy is to refuse; the entry is still queued.
            SpoolError: When it can't be written; the entry is still queued.
        """
        now = self.clock.now()

        def keep(db: sqlite3.Connection) -> list[retention.Expired]:
            if not retention.make_dead(db, entry.seq, reason, status, now):
                return []
            return retention.keep_budget(db, self.limits, now, newest=entry.seq)

        retention.log_expired(self.database().commit(keep))

    def get(self, seq: int) -> Entry | None:
        """One entry with its data, queued or dead; None when there is none of that number."""
        rows = self.database().read(f"{_ENTRY} WHERE seq = ?", (seq,))
        return self._entry(rows[0]) if rows else None

    def dead(self, lane: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Dead letters of one lane or all with their data, oldest first."""
        rows = self.database().read(
            f"{_ENTRY} WHERE state = ? AND lane = coalesce(?, lane) ORDER BY seq LIMIT ?", (DEAD, lane, limit)
        )
        return [
            DeadLetter(entry=entry, reason=row[6], status=row[7], died_at=row[8])
            for row in rows
            if (entry := self._readable(row)) is not None
        ]

    def seen(self, source: str, event_id: str) -> bool:
        """Whether this pair was put with `once` and is still remembered."""
        return bool(self.database().read("SELECT 1 FROM seen WHERE key = ?", (seen_key(source, event_id),)))

    @property
    def added(self) -> int:
        """Ids that were added since the file was opened; those of a commit that failed count too."""
        return self._added

    def remember(self, source: str, event_ids: Collection[str]) -> None:
        """Remember these ids of a source as if they had been put with `once`."""
        keys = [seen_key(source, event_id) for event_id in event_ids]

        def add(db: sqlite3.Connection) -> None:
            for key in keys:
                self._remember(db, key, self.clock.now())

        self.database().commit(add)

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Remember these ids of a source for as long as if they had been put now; returns how many were remembered."""
        keys = [seen_key(source, event_id) for event_id in event_ids]
        sql = "UPDATE seen SET at = ? WHERE key = ?"

        def remember(db: sqlite3.Connection) -> int:
            at = retention.moment(db, self.clock.now())
            return db.executemany(sql, [(at, key) for key in keys]).rowcount

        return self.database().commit(remember)

    def forget(self, before: float) -> int:
        """Forget the ids that were neither put nor touched since, Unix seconds; returns how many."""
        sql = "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? ORDER BY at LIMIT ?)"
        forgotten = 0
        while count := self.database().commit(lambda db: db.execute(sql, (before, BATCH)).rowcount):
            forgotten += count
        return forgotten

    def keep_limits(self) -> None:
        """Let dead letters expire by age. Whoever runs for long calls this now and then; it looks once a minute."""
        now = self.clock.monotonic()
        if now - self._kept_at < retention.LOOK_S:
            return
        self._kept_at = now
        moment = self.clock.now()
        while self.database().read(retention.ANY_OLD, retention.old(self.limits, moment)):
            retention.log_expired(self.database().commit(lambda db: retention.keep_budget(db, self.limits, moment)))

    def lanes(self) -> list[LaneStatus]:
        """What each lane holds that holds anything, by name."""
        return [
            LaneStatus(lane=lane, queued=queued, dead=dead, queued_bytes=waiting, dead_bytes=kept, oldest_at=oldest)
            for lane, queued, dead, waiting, kept, oldest in self.database().read(_LANES)
        ]

    def depth(self, lane: str | None = None) -> int:
        """Entries queued on one lane or all; dead ones don't count."""
        return sum(queued for name, (queued, _) in self.counts().items() if lane in (None, name))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Lane to entries queued and dead, for lanes that have any."""
        rows = self.database().read("SELECT lane, queued, dead FROM lanes")
        return {lane: (queued, dead) for lane, queued, dead in rows}

    def size_bytes(self) -> int:
        """Bytes of the queued events, as `max_bytes` counts them; the file never shrinks, it reuses its room."""
        return int(self._usage("queued_bytes"))

    def dead_bytes(self) -> int:
        """Bytes of the dead letters, as their budget counts them."""
        return int(self._usage("dead_bytes"))

    def expired(self) -> int:
        """Dead letters that were deleted to keep their budget, since the file was made."""
        return int(self._usage("expired"))

    def remembered(self) -> int:
        """Ids that `once` remembers."""
        return int(self._usage("seen"))

    def version(self, lane: str) -> Version:
        """A mark for `wait`. Take it before looking: then nothing that comes in between is missed."""
        return self.database().version(lane)

    def wait(self, version: Version, timeout_s: float) -> bool:
        """Wait until something may have come to a lane since `version`, from any process; False when time ran out."""
        return self.database().wait(version, timeout_s)

    def wake(self, lane: str | None = None) -> None:
        """End every `wait` in this process, or those for one lane."""
        self._db.wake(lane)

    def lease(self, name: str) -> Lease:
        """The right to do something by this name (deliver a lane, say), not yet taken."""
        return Lease(lease_path(self.path, name))

    def database(self) -> Database:
        """The file, replaced first when it was found damaged. For the modules of this package.

        Raises:
            SpoolError: When it is damaged and can't be replaced.
        """
        if not self._db.damaged:
            return self._db
        with self._swap:
            if self._db.damaged and not self._closed:
                self._db.close()
                self._repair()
            return self._db

    def _repair(self) -> None:
        """Replace a damaged file; after a failure the next attempt waits for ten times as long as that one took."""
        began = self.clock.monotonic()
        if began < self._repair_at:
            raise SpoolError(f"{self.path} is damaged and could not be replaced; that is tried again soon")
        try:
            if not self._db.is_replaced():
                replace_damaged(self.path)
            self._db = self._open()
        except SpoolError:
            now = self.clock.monotonic()
            self._repair_at = now + REPAIR_PAUSES * (now - began)
            raise

    def _open(self) -> Database:
        return Database(self.path, self._connect, clock=self.clock)

    def _usage(self, column: str) -> int:
        return int(self.database().read(f"SELECT {column} FROM usage")[0][0])  # noqa: S608 - a name of ours

    def _check_room(self, db: sqlite3.Connection, row: EventRow, lanes: tuple[str, ...]) -> None:
        limits = self.limits
        used, entries = db.execute("SELECT queued_bytes, (SELECT total(queued) FROM lanes) FROM usage").fetchone()
        if used + row[-1] > limits.max_bytes or entries + len(lanes) > limits.max_entries:
            raise SpoolFullError(
                f"{self.path} is full: {used} of {limits.max_bytes} bytes and {entries:.0f} of {limits.max_entries}"
                f" entries used, {row[-1]} bytes more were to be put",
                hint="let it be delivered, purge what nobody needs, or raise its limit",
            )

    def _remember(self, db: sqlite3.Connection, key: bytes, now: float) -> bool:
        """Remember an id; False when it was remembered already. Within a commit, of which there is one at a time."""
        added = retention.remember(db, key, now, self.limits.seen_max_entries)
        self._added += added
        return added

    def _readable(self, row: Any) -> Entry | None:
        """An entry, or None for one whose row is damaged: that becomes a dead letter and lets those behind it pass."""
        try:
            return self._entry(row)
        except SpoolError as error:
            reason, now = error.message, self.clock.now()
            _log.error("%s; it is kept as a dead letter", reason)
            self.database().commit(lambda db: retention.make_dead(db, row[0], reason, 0, now))
            return None

    def _entry(self, row: Any) -> Entry:
        seq, lane, attributes, data, attempts, put_at = row[:6]
        try:
            event = to_event(attributes, data)
        except (ValueError, KeyError) as error:
            raise SpoolError(
                f"entry {seq} of {self.path} is damaged: {error}", hint=f"delete it: eaves queue drop {seq}"
            ) from error
        return Entry(seq=seq, lane=lane, event=event, attempts=attempts, first_put_at=put_at)


def _store(db: sqlite3.Connection, row: EventRow, lanes: tuple[str, ...], now: float) -> None:
    if lanes:
        sql = "INSERT INTO events(source, id, attributes, data, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?)"
        eid = db.execute(sql, (*row, now)).lastrowid
        db.executemany("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", [(lane, eid) for lane in lanes])
