"""The queue over the SQLite file: put, peek, ack, retry, dead-letter."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import SpoolDamagedError, SpoolError
from eaves.events import Event
from eaves.spool import image_choice, outcomes, score_shift
from eaves.spool import limits as retention
from eaves.spool.database import Database, Version
from eaves.spool.entry import DeadLetter, Entry, LaneStatus, PutOutcome, PutRequest, Puts, build_entry
from eaves.spool.file import Lease, connect, lease_path
from eaves.spool.image_choice import Candidate, ChoiceCounts
from eaves.spool.ledger import Ledger, LedgerLimits
from eaves.spool.limits import SpoolLimits
from eaves.spool.outcomes import Outcome, RevisionOutcomes
from eaves.spool.put import PutTransaction, build_put, store
from eaves.spool.salvage import replace_damaged
from eaves.spool.schema import seen_key
from eaves.spool.score_shift import Sample, ScoreWindow

_ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, crc, reason, status, died_at,"
    " ifnull(CAST(size_bytes AS INTEGER), 0) FROM deliveries CROSS JOIN events USING(eid)"
)
"""Query for the columns from which `build_entry` makes an `Entry`. CROSS JOIN keeps SQLite from beginning with the
events, and a lane's entries are read in the order of an index, no more of them than are returned."""
_UNTRIED = "lane = ? AND state = 'queued' AND not_before = 0"
"""Condition for the entries of a lane that never failed."""
_PEEK = f"{_ENTRY} WHERE {_UNTRIED} AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq {{}} LIMIT ?"  # noqa: S608 - constants
_FIRST = f"SELECT seq FROM deliveries WHERE {_UNTRIED} ORDER BY seq {{}} LIMIT ?"  # noqa: S608 - constants
_RELEASE = "DELETE FROM deliveries WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
_RETRY = "UPDATE deliveries SET attempts = attempts + ?, not_before = ?, reason = ? WHERE seq = ? AND state = 'queued'"
_LANES = (
    "SELECT lane, queued, dead, queued_bytes, dead_bytes, (SELECT put_at FROM events JOIN deliveries USING(eid)"
    " WHERE seq = (SELECT min(seq) FROM (SELECT min(seq) AS seq FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before = 0 UNION ALL SELECT min(seq) FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before > 0))) FROM lanes ORDER BY lane"
)

_TRIED = (
    "SELECT seq, not_before FROM deliveries WHERE lane = ? AND state = 'queued' AND not_before > 0"
    " ORDER BY not_before LIMIT ?"
)

REPAIR_PAUSE_S = 10.0
"""Pause after a damaged file could not be replaced, seconds: an attempt copies the whole file."""

_log = logging.getLogger(__name__)


class Spool:
    """A durable queue in one SQLite file, for many threads and many processes; an object can't be used across a fork.

    When the file is found damaged, the next call replaces it with a new one that holds every readable entry, and keeps
    the damaged file beside it (see `eaves.spool.salvage`).

    Args:
        path: Path of the file, which is created together with its folder when it doesn't exist.
        limits: Limits of the spool.
        ledger: Limits of a ledger of every event that is put. A file without a ledger gets one, with a line for each
            queued event. A file that has a ledger keeps it even when it is opened without this argument.
        clock: Clock for wall time and monotonic time.
        connect: Function that opens a connection to the file.

    Raises:
        SpoolError: When the file can't be opened, or isn't a spool that this version reads. The file is left unchanged.

    Attributes:
        added: Number of events and ids that this object was given to put or to remember, even if in vain.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: SpoolLimits | None = None,
        ledger: LedgerLimits | None = None,
        clock: Clock = SYSTEM,
        connect: Callable[[Path], sqlite3.Connection] = connect,
    ) -> None:
        self.path = path
        self.limits = limits or SpoolLimits()
        self.clock = clock
        self._kept_at = float("-inf")
        self.added = 0
        self.ledger: Ledger | None = None
        self._connect = connect
        self._ledger_limits = ledger
        self._swap = threading.Lock()
        self._repair_at, self._closed = float("-inf"), False
        try:
            self._db = self._open()
        except SpoolDamagedError:
            replace_damaged(path)
            self._db = self._open()
        self.ledger = Ledger(self._read) if self._db.has_ledger else None

    def close(self) -> None:
        """Close the file. Changes in progress are finished first; later changes raise SpoolError."""
        with self._swap:
            self._closed = True
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, event: Event, *, lanes: Collection[str] = ("out",), once: bool = False) -> bool:
        """Store an event in these lanes; it is on disk when this method returns.

        Args:
            event: Event to store.
            lanes: Lanes that deliver the event. Without lanes nothing is stored, but `once` still remembers the id.
            once: Remember the pair (source, id), and store nothing when the pair was put before.

        Returns:
            False when `once` found that this event, or another one with the same source and id, was put before.

        Raises:
            SpoolFullError: When `max_bytes` or `max_entries` would be exceeded; nothing was stored.
            SpoolError: When the file can't be written; the caller must not acknowledge the event to its sender.
        """
        return self.put_many([(event, lanes)], once=once)[0] is PutOutcome.STORED

    def put_many(self, events: Sequence[tuple[Event, Collection[str]]], *, once: bool = False) -> list[PutOutcome]:
        """Store events, each in its lanes, in one commit; all of them are on disk when this method returns.

        Args:
            events: Events and their lanes, as for `put`.
            once: Whether events that were put before are skipped, as for `put`.

        Returns:
            The outcome for each event. Without a ledger, a conflict is reported as `REPEATED` too.

        Raises:
            SpoolFullError: When the new events don't all fit; nothing was stored.
            SpoolError: When the file can't be written; the caller must not acknowledge any of the events.
        """
        puts = self._build_puts(events)

        def store_all(db: sqlite3.Connection) -> list[PutOutcome]:
            self.added += len(puts)
            putting = PutTransaction(
                db,
                self.path,
                limits=self.limits,
                ledger=self.ledger,
                now=self.clock.now(),
                keys=[put.key for put in puts] if once else (),
            )
            return [putting.put(put, once=once) for put in puts]

        return self.database().commit(store_all, {lane for put in puts for lane in put.lanes})

    def put_dead(self, events: Sequence[tuple[Event, str]], reason: str, status: int) -> None:
        """Store events as dead letters, each on one lane and each only once, in one commit.

        An event gets no line in the ledger when another event with the same source and id has one already.

        Args:
            events: Events, each with its lane.
            reason: Reason why the events can't be delivered.
            status: HTTP status that made them dead letters.

        Raises:
            SpoolFullError: When the dead letters' budget is used up and its policy is to refuse; nothing was stored.
            SpoolError: When the file can't be written.
        """
        puts = [build_put(event, (lane,), ledger=True) for event, lane in events]

        def store_all(db: sqlite3.Connection) -> list[retention.Expired]:
            now, expired = self.clock.now(), []
            for put in puts:
                if self._remember(db, put.source, seen_key(put.source, f"{put.event_id}\0{put.digest.hex()}"), now):
                    known = self.ledger is None or self.ledger.has_line(db, put)
                    seq = store(db, put, now, None if known else self.ledger)
                    retention.make_dead(db, seq, reason, status, now)
                    expired += retention.keep_budget(db, self.limits, now, newest=seq)
            return expired

        retention.log_expired(self.database().commit(store_all))

    def peek(
        self,
        lane: str,
        *,
        limit: int = 1,
        max_bytes: int = 0,
        newest_first: bool = False,
        exclude: Collection[int] = (),
    ) -> list[Entry]:
        """Return the first entries of a lane that never failed; they stay in the queue until they are acknowledged.

        They are in the order they were put. `tried` lists the entries that failed.

        Args:
            lane: Name of the lane.
            limit: Maximum number of entries.
            max_bytes: Maximum size of data and attributes in bytes, 0 for any; a larger first entry is returned alone.
            newest_first: Return the newest entries, newest first.
            exclude: Sequence numbers to leave out, such as those of deliveries in flight.
        """
        sql = _PEEK.format("DESC" if newest_first else "ASC")
        values = (lane, json.dumps(list(exclude)), limit)
        while rows := self.database().read(sql, values, while_=_limit_size(max_bytes)):
            if entries := self._entries(rows):
                return entries
        return []

    def is_next(self, entries: Sequence[Entry], *, newest_first: bool = False) -> bool:
        """Return whether entries of one lane are still the first ones that never failed, in this order."""
        sql = _FIRST.format("DESC" if newest_first else "ASC")
        rows = self._read(sql, (entries[0].lane, len(entries)))
        return rows == [(entry.seq,) for entry in entries]

    def ack(
        self,
        entry: Entry,
        *,
        puts: Puts = (),
        outcome: Outcome | None = None,
        sample: Sample | None = None,
        candidate: Candidate | None = None,
    ) -> None:
        """Acknowledge an entry, and store the events that result from it in the same commit.

        The commit also counts the outcome, and the sample: an event about a shift goes to the lanes of the first event.
        It stores the image of a candidate that is chosen for labelling.

        The events in `puts` are never refused for lack of space: they replace the entry that is deleted, and refusing
        them would keep a full queue full. When the entry was acknowledged or dead-lettered before, nothing is changed.

        Raises:
            SpoolError: When the file can't be written; the entry is still queued.
        """
        stored = self._build_puts(puts)
        lanes = {lane for put in stored for lane in put.lanes} | {*(candidate.lanes if candidate else ())}

        def release(db: sqlite3.Connection) -> None:
            if db.execute(_RELEASE, (json.dumps([entry.seq]),)).rowcount:
                now = self.clock.now()
                for put in stored:
                    store(db, put, now, self.ledger)
                if shift := score_shift.count(db, sample, now):
                    store(db, self._build_puts([(shift, puts[0][1])])[0], now, self.ledger)
                if candidate is not None and image_choice.choose(db, candidate, now):
                    store(db, self._build_puts([(candidate.image, candidate.lanes)])[0], now, self.ledger)
                outcomes.count(db, outcome)

        self.database().commit(release, lanes)

    def ack_many(self, entries: Collection[Entry]) -> None:
        """Acknowledge entries in one commit. Entries that were acknowledged or dead-lettered before are left unchanged.

        Raises:
            SpoolError: When the file can't be written; all entries are still queued.
        """
        seqs = json.dumps([entry.seq for entry in entries])
        self.database().commit(lambda db: db.execute(_RELEASE, (seqs,)))

    def retry(
        self, entry: Entry, not_before: float, reason: str, *, counted: bool = True, outcome: Outcome | None = None
    ) -> None:
        """Count a failed attempt, unless `counted` is false; the entry is due again at `not_before`, Unix seconds."""
        values = (int(counted), not_before, reason, entry.seq)

        def put_off(db: sqlite3.Connection) -> None:
            if db.execute(_RETRY, values).rowcount:
                outcomes.count(db, outcome)

        self.database().commit(put_off, (entry.lane,))

    def dead_letter(
        self, entry: Entry, reason: str, status: int, *, puts: Puts = (), outcome: Outcome | None = None
    ) -> None:
        """Count a failed attempt and make the entry a dead letter, which the dead letters' budget limits.

        The events in `puts` report it. They are stored in the same commit and, as in `ack`, never refused for lack of
        space.

        Raises:
            SpoolFullError: When the budget is used up and its policy is to refuse; the entry is still queued.
            SpoolError: When the file can't be written; the entry is still queued.
        """
        now, stored = self.clock.now(), self._build_puts(puts)

        def keep(db: sqlite3.Connection) -> list[retention.Expired]:
            if not retention.make_dead(db, entry.seq, reason, status, now):
                return []
            outcomes.count(db, outcome)
            for put in stored:
                store(db, put, now, self.ledger)
            return retention.keep_budget(db, self.limits, now, newest=entry.seq)

        retention.log_expired(self.database().commit(keep, {lane for put in stored for lane in put.lanes}))

    def get(self, seq: int) -> Entry | None:
        """Return an entry with its data, queued or dead; None when no entry has that sequence number."""
        rows = self._read(f"{_ENTRY} WHERE seq = ?", (seq,))
        return self._entry(rows[0]) if rows else None

    def get_queued(self, seq: int) -> Entry | None:
        """Return a queued entry with its data, or None. A damaged entry is handled as in `peek`."""
        return next(iter(self._entries(self._read(f"{_ENTRY} WHERE seq = ? AND state = 'queued'", (seq,)))), None)

    def dead(self, lane: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters of one lane or of all lanes with their data, oldest first."""
        sql = f"{_ENTRY} WHERE state = 'dead' AND lane = coalesce(?, lane) ORDER BY seq LIMIT ?"
        return [
            DeadLetter(entry=entry, reason=row[7], status=row[8], died_at=row[9])
            for row in self._read(sql, (lane, limit))
            if (entry := self._readable(row)) is not None
        ]

    def lanes(self) -> list[LaneStatus]:
        """Return the status of each lane that has entries, sorted by name."""
        return [
            LaneStatus(lane=lane, queued=queued, dead=dead, queued_bytes=waiting, dead_bytes=kept, oldest_at=oldest)
            for lane, queued, dead, waiting, kept, oldest in self._read(_LANES)
        ]

    def outcomes(self) -> tuple[str, tuple[RevisionOutcomes, ...]]:
        """Return the file's identity, and the outcomes that were counted for each revision."""
        rows = self._read(outcomes.READ)
        names = ("revision", *outcomes.KINDS)
        counted = [RevisionOutcomes(**dict(zip(names, row[1:], strict=True))) for row in rows if row[1] is not None]
        return rows[0][0] if rows else "", tuple(counted)

    def score_windows(self) -> tuple[ScoreWindow, ...]:
        """Return the models and sources whose scores are watched."""
        rows = self._read(score_shift.READ)
        names = ("artifact", "source", "counted", "since")
        return tuple(
            ScoreWindow(**dict(zip(names, row[:-1], strict=True)), labels=tuple(json.loads(row[-1]))) for row in rows
        )

    def choices(self) -> tuple[ChoiceCounts, ...]:
        """Return by predicted class how many images were chosen for labelling today."""
        names = [one.name for one in fields(ChoiceCounts)]
        rows = self._read(image_choice.READ, (self.clock.now() // image_choice.DAY_S,))
        return tuple(ChoiceCounts(**dict(zip(names, row, strict=True))) for row in rows)

    def depth(self, lane: str | None = None) -> int:
        """Return the number of entries queued on one lane or on all lanes; dead letters don't count."""
        return sum(queued for name, (queued, _) in self.counts().items() if lane in (None, name))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return a mapping from lane to its numbers of queued entries and dead letters, for lanes that have any."""
        rows = self._read("SELECT lane, queued, dead FROM lanes")
        return {lane: (queued, dead) for lane, queued, dead in rows}

    def size_bytes(self) -> int:
        """Return the size of the queued events in bytes, as `max_bytes` counts them.

        The file itself never shrinks; SQLite reuses the space of deleted entries.
        """
        return self._usage("queued_bytes")

    def dead_bytes(self) -> int:
        """Return the size of the dead letters in bytes, as their budget counts them."""
        return self._usage("dead_bytes")

    def expired(self) -> int:
        """Return how many dead letters were deleted to keep their budget since the file was created."""
        return self._usage("expired")

    def remembered(self) -> int:
        """Return how many ids `put(once=True)` remembers in the `seen` table."""
        return self._usage("seen")

    def tried(self, lane: str, limit: int) -> list[tuple[int, float]]:
        """Return the entries of a lane that failed and wait for another attempt, ordered by due time.

        Each is a pair: the sequence number, and the Unix time in seconds that `retry` set. An entry that an operator
        wants to be tried now is due at `FREED`.
        """
        return [(seq, due) for seq, due in self._read(_TRIED, (lane, limit))]

    def is_queued(self, seq: int) -> bool:
        """Return whether the entry exists and is queued, not a dead letter."""
        return bool(self._read("SELECT 1 FROM deliveries WHERE seq = ? AND state = 'queued'", (seq,)))

    def seen(self, source: str, event_id: str, *, options: bytes = b"") -> bool:
        """Return whether this pair is remembered: put with `once`, or left out by the options with this digest."""
        if self.ledger is not None and self.ledger.find(source, event_id) is not None:
            return True
        sql = "SELECT 1 FROM seen WHERE key = ? AND options IN (x'', ?)"
        return bool(self._read(sql, (seen_key(source, event_id), options)))

    def remember(self, source: str, event_ids: Collection[str], *, options: bytes = b"") -> None:
        """Remember ids of a source as if they had been put with `once`, or as left out by options with this digest."""
        keys = [seen_key(source, event_id) for event_id in event_ids]

        def add(db: sqlite3.Connection) -> None:
            self.added += len(keys)
            for key in keys:
                self._remember(db, source, key, self.clock.now(), options)

        self.database().commit(add)

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        """Remember these ids of a source as if they had been put now; return how many were remembered before."""
        keys = [seen_key(source, event_id) for event_id in event_ids]
        return self.database().commit(lambda db: retention.touch(db, keys, self.clock.now()))

    def forget(self, source: str, before: float) -> int:
        """Forget the ids of a source that were last put or touched before a time in Unix seconds; return how many."""
        forgotten = 0
        while count := self.database().commit(lambda db: retention.forget(db, source, before)):
            forgotten += count
        return forgotten

    def keep_limits(self) -> None:
        """Delete dead letters that are too old, at most once a minute. A long-running process calls it regularly."""
        now = self.clock.monotonic()
        if now - self._kept_at < retention.POLL_S:
            return
        self._kept_at = now
        moment = self.clock.now()
        while self._read(retention.ANY_OLD, retention.old(self.limits, moment)):
            retention.log_expired(self.database().commit(lambda db: retention.keep_budget(db, self.limits, moment)))

    def version(self, *lanes: str) -> Version:
        """Return the lanes' version for `wait`. Read it before `peek`, so that `wait` notices every later change."""
        return self.database().version(*lanes)

    def wait(self, version: Version, timeout_s: float) -> bool:
        """Wait until any process may have changed a lane since `version`; return False after `timeout_s` seconds."""
        return self.database().wait(version, timeout_s)

    def wake(self, lane: str | None = None) -> None:
        """End every `wait` in this process, or every `wait` for one lane."""
        self._db.wake(lane)

    def lease(self, name: str) -> Lease:
        """Return the lease of this name (for the delivery of a lane, for example), not yet acquired."""
        return Lease(lease_path(self.path, name))

    def database(self) -> Database:
        """Return the open file, which is replaced first when it is damaged. Only for modules of this package.

        Raises:
            SpoolError: When the file is damaged and can't be replaced.
        """
        if self._db.damaged:
            with self._swap:
                if self._db.damaged and not self._closed:
                    self._repair()
        return self._db

    def _open(self) -> Database:
        has_ledger = self._ledger_limits is not None or self.ledger is not None
        return Database(self.path, self._connect, clock=self.clock, ledger=has_ledger, limits=self._ledger_limits)

    def _repair(self) -> None:
        """Replace a damaged file; after a failure, as on a full disk, the next attempt is made after a pause."""
        self._db.close()
        if not self._db.is_replaced():
            now = self.clock.monotonic()
            if now < self._repair_at:
                raise SpoolError(f"{self.path} is damaged and can't be replaced yet; the next try follows soon")
            self._repair_at = now + REPAIR_PAUSE_S
            replace_damaged(self.path)
        self._db = self._open()
        self._repair_at = float("-inf")

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self.database().read(sql, values)

    def _usage(self, column: str) -> int:
        return int(self._read(f"SELECT {column} FROM usage")[0][0])  # noqa: S608 - constants

    def _build_puts(self, events: Sequence[tuple[Event, Collection[str]]]) -> list[PutRequest]:
        return [build_put(event, lanes, ledger=self.ledger is not None) for event, lanes in events]

    def _remember(self, db: sqlite3.Connection, source: str, key: bytes, now: float, options: bytes = b"") -> bool:
        """Remember an id within a commit; return False when its event was put before."""
        return retention.remember(db, source, key, now, self.limits.seen_max_entries, options)

    def _entries(self, rows: list[Any]) -> list[Entry]:
        left = [*reversed(rows)]
        rows.clear()  # frees the memory of each row as soon as its entry is made
        made = (self._readable(left.pop()) for _ in range(len(left)))
        return [entry for entry in made if entry is not None]

    def _readable(self, row: Any) -> Entry | None:
        """Return the entry of a table row; None for a damaged row, whose entry becomes a dead letter."""
        try:
            return self._entry(row)
        except SpoolError as error:
            reason, now = error.message, self.clock.now()
            _log.error("%s; it is kept as a dead letter", reason)
            self.database().commit(lambda db: retention.make_dead(db, row[0], reason, 0, now))
            return None

    def _entry(self, row: Any) -> Entry:
        try:
            return build_entry(row)
        except (ValueError, KeyError) as error:
            raise SpoolError(
                f"entry {row[0]} of {self.path} is damaged: {error}",
                hint=(f"delete the entry: eaves queue drop {row[0]}"),
            ) from error


def _limit_size(max_bytes: int) -> Callable[[Any], bool]:
    """Return a function of rows in order that is true until they have more than `max_bytes`, 0 for any number of bytes.

    It is true for the first row in any case.
    """
    total = -1

    def fits(row: Any) -> bool:
        nonlocal total
        is_first, total = total < 0, max(0, total) + row[-1]
        return is_first or not 0 < max_bytes < total

    return fits
