"""The queue over the file: put, peek, ack, retry, dead-letter."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import SpoolError
from eaves.events import Event
from eaves.spool import retention
from eaves.spool.batch_put import PutTransaction
from eaves.spool.due_entries import (
    ENTRY,
    choose_batch,
    is_hiding,
    read_next_due,
    select_batch,
    select_due,
    select_newest,
)
from eaves.spool.entry import DeadLetter, Entry, PutOutcome, Puts, build_entry
from eaves.spool.file.database import Database, Version, connect
from eaves.spool.file.lease import Lease, lease_path
from eaves.spool.file.schema import seen_key
from eaves.spool.file.spool_file import SpoolFile
from eaves.spool.ledger import Ledger, LedgerLimits
from eaves.spool.limits import SpoolLimits
from eaves.spool.measures import SpoolMeasures
from eaves.spool.storage import PutRequest, build_put, store

_RELEASE = "DELETE FROM deliveries WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
_RETRY = "UPDATE deliveries SET attempts = attempts + 1, not_before = ?, reason = ? WHERE seq = ? AND state = 'queued'"
_log = logging.getLogger(__name__)


class Spool(SpoolMeasures):
    """The queue. Safe to use from many threads, and from many processes that open the same file; not across a fork.

    A file that is found damaged, at the start or later, is replaced at the next call by a new one that holds every
    entry that can be read; the damaged one is kept beside it (see `eaves.spool.file.salvage`).

    Args:
        path: The file; made, with its folder, when it isn't there.
        limits: How much it keeps.
        ledger: Keep a ledger of every event that is put, with this bound; made, with a line for each event that waits,
            when the file has none. A file that has one keeps it whoever opens it.
        clock: Time.
        connect: How connections are opened.

    Raises:
        SpoolError: When the file can't be opened, or isn't a spool that this version reads. It is left as it is.

    Attributes:
        added: Ids that were added since the file was opened; those of a commit that failed count too.
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
        self._looked_at: dict[str, float] = {}
        self._file = SpoolFile(path, connect, clock=clock, ledger=ledger)
        self.ledger = Ledger(self._read, ledger) if self._file.has_ledger else None

    def close(self) -> None:
        """Close the file. Changes under way are finished first; later ones raise SpoolError."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, event: Event, *, lanes: Collection[str] = ("out",), once: bool = False) -> bool:
        """Store an event for these lanes; it is on disk when this returns.

        Args:
            event: What to store.
            lanes: Where it is to be delivered. None at all stores nothing (`once` still remembers it).
            once: Remember the pair (source, id) and store nothing when it was put before. With a ledger its lines are
                what remembers.

        Returns:
            False when `once` found that it, or another event of the same source and id, was put before.

        Raises:
            SpoolFullError: Beyond `max_bytes` or `max_entries`; nothing was stored.
            SpoolError: When it can't be written; don't acknowledge it to anybody.
        """
        return self.put_many([(event, lanes)], once=once)[0] is PutOutcome.STORED

    def put_many(self, events: Sequence[tuple[Event, Collection[str]]], *, once: bool = False) -> list[PutOutcome]:
        """Store events, each with its lanes, in one commit; all of them are on disk when this returns.

        Args:
            events: As for `put`.
            once: As for `put`.

        Returns:
            What became of each event. Only a ledger tells another event under a known source and id from a repetition.

        Raises:
            SpoolFullError: When there isn't room for all that are new; nothing was stored.
            SpoolError: When they can't be written; don't acknowledge any of them.
        """
        puts = self._build_puts(events)

        def store_all(db: sqlite3.Connection) -> list[PutOutcome]:
            putting = PutTransaction(
                db,
                self.path,
                limits=self.limits,
                ledger=self.ledger,
                now=self.clock.now(),
                remember=self._remember,
                keys=[put.key for put in puts] if once else (),
            )
            return [putting.put(put, once=once) for put in puts]

        return self.database().commit(store_all, {lane for put in puts for lane in put.lanes})

    def put_dead(self, events: Sequence[tuple[Event, str]], reason: str, status: int) -> None:
        """Store events, each for one lane, as dead letters, once each, in one commit.

        An event whose source and id have a line in the ledger already, of another event, gets no line of its own.

        Args:
            events: What to store, with its lane.
            reason: Why.
            status: HTTP status that says so.

        Raises:
            SpoolFullError: When the dead letters' budget is used up and its policy is to refuse; nothing was stored.
            SpoolError: When they can't be written.
        """
        puts = [build_put(event, (lane,), ledger=True) for event, lane in events]

        def store_all(db: sqlite3.Connection) -> list[retention.Expired]:
            now, expired = self.clock.now(), []
            for put in puts:
                if self._remember(db, seen_key(put.row[0], f"{put.row[1]}\0{put.digest.hex()}"), now):
                    known = self.ledger is None or self.ledger.has_line(db, source=put.row[0], event_id=put.row[1])
                    seq = store(db, put, now, None if known else self.ledger)
                    retention.make_dead(db, seq, reason, status, now)
                    expired += retention.keep_budget(db, self.limits, now, newest=seq)
            return expired

        retention.log_expired(self.database().commit(store_all))

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
        rows = select_due(self._read, lane, limit=limit, now=now, exclude=exclude, after=after)
        if not rows and not exclude:
            self._check_index(lane)
        return self._entries(rows)

    def peek_batch(
        self,
        lane: str,
        *,
        now: float,
        max_events: int,
        max_bytes: int,
        newest_first: bool = False,
        untried: bool = False,
        after: int = 0,
        known: Sequence[Entry] = (),
    ) -> list[Entry]:
        """Entries of a lane that are due and go into one request; at least one when any is due.

        Args:
            lane: Of which lane.
            now: Unix seconds.
            max_events: Most entries returned.
            max_bytes: Most bytes of data and attributes, but for a first entry that alone is larger.
            newest_first: The newest entries, the newest first, instead of the oldest in the order they were put.
            untried: Only entries that never failed; see `tried`.
            after: Only entries with a higher sequence number, and none that alone is larger than `max_bytes`.
            known: Entries that were read before; a batch that begins with all of them holds them only.
        """
        limit = {"max_events": max_events, "max_bytes": max_bytes, "after": after}
        while seqs := choose_batch(self._read, lane, now=now, newest_first=newest_first, untried=untried, **limit):
            if known and seqs[: len(known)] == [entry.seq for entry in known]:
                return list(known)
            if entries := self._entries(select_batch(self._read, seqs, newest_first=newest_first)):
                return entries
        if not after:
            self._check_index(lane)
        return []

    def peek_newest(self, lane: str, *, exclude: Collection[int] = ()) -> list[Entry]:
        """The newest entry of a lane that was never tried; none when there is none."""
        return self._entries(select_newest(self._read, lane, exclude=exclude))

    def next_due(self, lane: str, *, exclude: Collection[int] = ()) -> float | None:
        """When the next entry of a lane is due, Unix seconds; None when nothing but `exclude` is queued."""
        return read_next_due(self._read, lane, exclude=exclude)

    def ack(self, entry: Entry, *, puts: Puts = ()) -> None:
        """Release an entry and store what came of it, in one commit: neither happens without the other.

        What is put here is never refused for want of room: it replaces what is released, and refusing it would keep a
        full queue full. An entry that was released or dead-lettered before is left alone, and then nothing is put.

        Raises:
            SpoolError: When it can't be written; the entry is still queued.
        """
        stored = self._build_puts(puts)

        def release(db: sqlite3.Connection) -> None:
            if db.execute(_RELEASE, (json.dumps([entry.seq]),)).rowcount:
                for put in stored:
                    store(db, put, self.clock.now(), self.ledger)

        self.database().commit(release, {lane for put in stored for lane in put.lanes})

    def ack_many(self, entries: Collection[Entry]) -> None:
        """Release entries in one commit. Those that were released or dead-lettered before are left alone.

        Raises:
            SpoolError: When it can't be written; all of them are still queued.
        """
        seqs = json.dumps([entry.seq for entry in entries])
        self.database().commit(lambda db: db.execute(_RELEASE, (seqs,)))

    def retry(self, entry: Entry, not_before: float, reason: str) -> None:
        """Count a failed attempt; the entry is due again at `not_before`, Unix seconds."""
        values = (not_before, reason, entry.seq)
        self.database().commit(lambda db: db.execute(_RETRY, values), (entry.lane,))

    def dead_letter(self, entry: Entry, reason: str, status: int, *, puts: Puts = ()) -> None:
        """Count a failed attempt and give up: the entry is kept within the dead letters' budget.

        What is put here tells of it, in the same commit, and is never refused for want of room, as with `ack`.

        Raises:
            SpoolFullError: When that budget is used up and its policy is to refuse; the entry is still queued.
            SpoolError: When it can't be written; the entry is still queued.
        """
        now, stored = self.clock.now(), self._build_puts(puts)

        def keep(db: sqlite3.Connection) -> list[retention.Expired]:
            if not retention.make_dead(db, entry.seq, reason, status, now):
                return []
            for put in stored:
                store(db, put, now, self.ledger)
            return retention.keep_budget(db, self.limits, now, newest=entry.seq)

        retention.log_expired(self.database().commit(keep, {lane for put in stored for lane in put.lanes}))

    def get(self, seq: int) -> Entry | None:
        """One entry with its data, queued or dead; None when there is none of that number."""
        rows = self._read(f"{ENTRY} WHERE seq = ?", (seq,))
        return self._entry(rows[0]) if rows else None

    def get_queued(self, seq: int) -> Entry | None:
        """One entry that waits, with its data. A damaged one is handled as in `peek`."""
        return next(iter(self._entries(self._read(f"{ENTRY} WHERE seq = ? AND state = 'queued'", (seq,)))), None)

    def dead(self, lane: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Dead letters of one lane or all with their data, oldest first."""
        sql = f"{ENTRY} WHERE state = 'dead' AND lane = coalesce(?, lane) ORDER BY seq LIMIT ?"
        return [
            DeadLetter(entry=entry, reason=row[7], status=row[8], died_at=row[9])
            for row in self._read(sql, (lane, limit))
            if (entry := self._readable(row)) is not None
        ]

    def seen(self, source: str, event_id: str) -> bool:
        """Whether this pair was put with `once` and is still remembered."""
        if self.ledger is not None and self.ledger.digest_of(source, event_id) is not None:
            return True
        return bool(self._read("SELECT 1 FROM seen WHERE key = ?", (seen_key(source, event_id),)))

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
        return self.database().commit(lambda db: retention.touch(db, keys, self.clock.now()))

    def forget(self, before: float) -> int:
        """Forget the ids that were neither put nor touched since, Unix seconds; returns how many."""
        forgotten = 0
        while count := self.database().commit(lambda db: retention.forget(db, before)):
            forgotten += count
        return forgotten

    def keep_limits(self) -> None:
        """Let dead letters expire by age. Whoever runs for long calls this now and then; it looks once a minute."""
        now = self.clock.monotonic()
        if now - self._kept_at < retention.LOOK_S:
            return
        self._kept_at = now
        moment = self.clock.now()
        while self._read(retention.ANY_OLD, retention.old(self.limits, moment)):
            retention.log_expired(self.database().commit(lambda db: retention.keep_budget(db, self.limits, moment)))

    def version(self, lane: str) -> Version:
        """A mark for `wait`. Take it before looking: then nothing that comes in between is missed."""
        return self.database().version(lane)

    def wait(self, version: Version, timeout_s: float) -> bool:
        """Wait until something may have come to a lane since `version`, from any process; False when time ran out."""
        return self.database().wait(version, timeout_s)

    def wake(self, lane: str | None = None) -> None:
        """End every `wait` in this process, or those for one lane."""
        self._file.current.wake(lane)

    def lease(self, name: str) -> Lease:
        """The right to do something by this name (deliver a lane, say), not yet taken."""
        return Lease(lease_path(self.path, name))

    def database(self) -> Database:
        """The file, replaced first when it was found damaged. For the modules of this package.

        Raises:
            SpoolError: When it is damaged and can't be replaced.
        """
        return self._file.database()

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self.database().read(sql, values)

    def _build_puts(self, events: Sequence[tuple[Event, Collection[str]]]) -> list[PutRequest]:
        return [build_put(event, lanes, ledger=self.ledger is not None) for event, lanes in events]

    def _remember(self, db: sqlite3.Connection, key: bytes, now: float) -> bool:
        """Remember an id; False when it was remembered already. Within a commit, of which there is one at a time."""
        added = retention.remember(db, key, now, self.limits.seen_max_entries)
        self.added += added
        return added

    def _check_index(self, lane: str) -> None:
        """Look, every ten minutes, whether a lane without due entries holds some that damage hides.

        Raises:
            SpoolDamagedError: When it does; the next call replaces the file.
        """
        now = self.clock.monotonic()
        if now - self._looked_at.get(lane, float("-inf")) < retention.INDEX_LOOK_S:
            return
        self._looked_at[lane] = now
        if is_hiding(self._read, lane, self.clock.now()):
            raise self.database().report_damage(f"entries of the lane {lane} are missing in the index")

    def _entries(self, rows: list[Any]) -> list[Entry]:
        left = [*reversed(rows)]
        rows.clear()  # each row goes once its entry is made
        made = (self._readable(left.pop()) for _ in range(len(left)))
        return [entry for entry in made if entry is not None]

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
        try:
            return build_entry(row)
        except (ValueError, KeyError) as error:
            raise SpoolError(
                f"entry {row[0]} of {self.path} is damaged: {error}", hint=f"delete it: eaves queue drop {row[0]}"
            ) from error
