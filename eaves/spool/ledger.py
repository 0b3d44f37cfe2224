"""The ledger of a spool: one line for each event that was put, which stays after the event was delivered.

The ledger is a table in the spool's file and changes in the same commit as the entry, so that after a kill a line's
state agrees with the queue. SQL triggers update a line's state for every writer of the file, including an operator's
purge. The line of an event that is still in the spool is never deleted. Of the other lines, the oldest ones beyond the
maximum number of lines are deleted and counted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.spool import ledger_schema as schema
from eaves.spool.entry import PutOutcome, PutRequest
from eaves.spool.ledger_schema import STATES, LineState, line_key

Read = Callable[[str, Sequence[Any]], list[Any]]
"""Function that runs a query and returns its rows."""
_FIND = "SELECT number, digest, eid, state FROM ledger WHERE key = ? AND source = ? AND id = ?"
_FIND_KEYS = "SELECT key FROM ledger WHERE key IN (SELECT value FROM json_each(?))"
_LINES = f"SELECT {' + '.join(STATES)} FROM ledger_totals"  # noqa: S608 - constants
_NO_BOUND = 1 << 62
_INSERT = "INSERT INTO ledger(key, digest, source, id, taken_at, changed_at, eid) VALUES(?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "number, source, id, taken_at, state, changed_at, repeats, reason, digest"
_COUNTS = f"SELECT {', '.join(STATES)}, repeats, conflicts, deleted FROM ledger_totals"  # noqa: S608 - constants
_SITE = schema.SITE.format("source")
_TRIM = "DELETE FROM ledger WHERE number IN (SELECT number FROM ledger WHERE eid IS NULL ORDER BY number LIMIT ?)"
TRIM = 1_000
"""Maximum number of old lines that are deleted when one new line is added, for example after the limit was lowered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLimits:
    """Limits of a ledger.

    Attributes:
        max_entries: Maximum number of lines; each takes 150 to 200 bytes of the file. Beyond it the oldest lines whose
            events have left the spool are deleted and counted. An event that comes again after its line was deleted
            counts as a new one.
        ignored_lanes: Lanes whose entries don't count for the state of a line, such as lanes with copies for another
            receiver.
    """

    max_entries: int = 1_000_000
    ignored_lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line of a ledger: the record of one event that was put into the spool.

    Attributes:
        number: Line number in the order of arrival; never used again.
        source: Source of the event.
        id: Id of the event.
        taken_at: Time at which the event was put first, Unix seconds.
        state: `queued` while any entry of the event waits; `dead` when no entry waits and some are dead letters;
            `released` when all were delivered; `removed` when one was deleted instead, by an operator or because the
            dead letters' budget was used up; `lost` when the file was damaged and the event could not be read. A lost
            event is stored when it comes again.
        changed_at: Time at which the state changed last, Unix seconds.
        repeats: Number of times that the same event came again.
        reason: Reason why the event is dead or removed; empty otherwise.
        digest: Digest of the event's content in hexadecimal digits; empty when it isn't known.
        deleted: Number of lines that the ledger had deleted to keep its limit; set only in the first line of a reading
            of the whole ledger.
    """

    number: int
    source: str
    id: str
    taken_at: float
    state: LineState
    changed_at: float
    repeats: int
    reason: str = ""
    digest: str = ""
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """Numbers of a ledger's lines by state, and its other counters.

    Attributes:
        queued: Number of lines in the state `queued` of `LedgerLine.state`.
        released: Number of lines in the state `released`.
        dead: Number of lines in the state `dead`.
        removed: Number of lines in the state `removed`.
        lost: Number of lines in the state `lost`.
        repeats: Number of events that came again since the ledger was created.
        conflicts: Number of events with the source and id of another event since the ledger was created. They were not
            stored.
        deleted: Number of lines that were deleted to keep `LedgerLimits.max_entries` since the ledger was created.
    """

    queued: int
    released: int
    dead: int
    removed: int
    lost: int
    repeats: int
    conflicts: int
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What the ledger knows about an event that is about to be put into the spool.

    Attributes:
        has_line: Whether the event has a line.
        outcome: Why the event is not to be stored; None when it is to be stored, because it has no line or was lost.
    """

    has_line: bool
    outcome: PutOutcome | None = None


NO_LINE = Recalled(has_line=False)


class Ledger:
    """The lines of one spool's ledger.

    Args:
        read: Function that runs a query on the spool's file.
        limits: Limits of the ledger; None deletes no lines, which suits a caller that only reads.
    """

    def __init__(self, read: Read, limits: LedgerLimits | None = None) -> None:
        self._read = read
        self._limits = limits

    def read(self, *, after: int = 0, limit: int = 10_000, source_prefix: str = "") -> list[LedgerLine]:
        """Return lines in the order of arrival.

        Args:
            after: Line number above which lines are returned, usually that of the last line that was read before.
            limit: Maximum number of lines.
            source_prefix: Prefix of the events' sources; empty for all sources.

        Raises:
            SpoolError: When the file can't be read.
        """
        site = schema.site_of(source_prefix)
        of_site = f"{_SITE} = ?4 AND " if site else ""  # an index finds the lines of one site among those of many sites
        sql = (
            f"SELECT {_COLUMNS} FROM ledger WHERE {of_site}number > ?1"  # noqa: S608 - constants
            " AND (?2 = '' OR substr(source, 1, length(?2)) = ?2) ORDER BY number LIMIT ?3"
        )
        values = (after, source_prefix, limit, site) if site else (after, source_prefix, limit)
        lines = [_line(row) for row in self._read(sql, values)]
        if lines and not source_prefix:  # counted after the lines were read, so that the number never is too small
            lines[0] = replace(lines[0], deleted=self.counts().deleted)
        return lines

    def find(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the line of one event; None when the event has none.

        Raises:
            SpoolError: When the file can't be read.
        """
        sql = f"SELECT {_COLUMNS} FROM ledger WHERE key = ? AND source = ? AND id = ?"  # noqa: S608 - constants
        rows = self._read(sql, (line_key(source, event_id), source, event_id))
        return _line(rows[0]) if rows else None

    def digest_of(self, source: str, event_id: str) -> bytes | None:
        """Return the digest of an event's content, as `content_digest` computes it.

        Returns None when the event has no line or was lost.
        """
        rows = self._read(_FIND, (line_key(source, event_id), source, event_id))
        return bytes(rows[0][1]) if rows and not _is_lost(rows[0][3]) else None

    def counts(self) -> LedgerCounts:
        """Return the numbers of lines by state, and the ledger's other counters."""
        *states, repeats, conflicts, deleted = self._read(_COUNTS, ())[0]
        by_state = dict(zip(STATES, states, strict=True))
        return LedgerCounts(**by_state, repeats=repeats, conflicts=conflicts, deleted=deleted)

    def add(self, db: sqlite3.Connection, put: PutRequest, *, now: float, eid: int, is_new: bool, trims: bool) -> None:
        """Add the line of an event that was just stored, within a commit.

        An event that was stored although it has a line (`put` without `once`, or a lost event that came again) keeps
        that line, whose state becomes `queued` again.

        Args:
            db: Connection within the transaction.
            put: The event.
            now: Current time, Unix seconds.
            eid: Row id of the event in the spool.
            is_new: Whether the event is known to have no line.
            trims: Whether lines beyond the limit are deleted; False when the caller knows from `room` that there are
                none.
        """
        found = None if is_new else _find(db, put)
        if found is None:
            db.execute(_INSERT, (put.key, put.digest, put.source, put.event_id, now, now, eid))
            if trims:
                self._trim(db)
            return
        number, _, waiting, state = found
        if not _is_lost(state):
            self._count_repeat(db, number)
        if waiting is None:
            sql = "UPDATE ledger SET state = ?, changed_at = ?, digest = ?, deleted = 0, reason = '', eid = ?"
            db.execute(f"{sql} WHERE number = ?", (schema.QUEUED, now, put.digest, eid, number))

    def room(self, db: sqlite3.Connection) -> int:
        """Return how many lines can be added before one must be deleted, within a commit."""
        if self._limits is None:
            return _NO_BOUND
        return self._limits.max_entries - _count_lines(db)

    def find_keys(self, db: sqlite3.Connection, keys: Collection[int]) -> set[int]:
        """Return those of the keys that a ledger line has, within a commit.

        The line may have another source and id than the event with this key.
        """
        return {key for (key,) in db.execute(_FIND_KEYS, (json.dumps(list(keys)),))}

    def has_line(self, db: sqlite3.Connection, put: PutRequest) -> bool:
        """Return whether the event's source and id have a line, within a commit."""
        return _find(db, put) is not None

    def recall(self, db: sqlite3.Connection, put: PutRequest) -> Recalled:
        """Return what the ledger knows about an event, within a commit; a repetition or a conflict is counted."""
        found = _find(db, put)
        if found is None:
            return NO_LINE
        number, known, _, state = found
        if _is_lost(state):
            return Recalled(has_line=True)
        if known and known != put.digest:
            db.execute("UPDATE ledger_totals SET conflicts = conflicts + 1")
            return Recalled(has_line=True, outcome=PutOutcome.CONFLICTING)
        self._count_repeat(db, number)
        return Recalled(has_line=True, outcome=PutOutcome.REPEATED)

    def _count_repeat(self, db: sqlite3.Connection, number: int) -> None:
        db.execute("UPDATE ledger SET repeats = repeats + 1 WHERE number = ?", (number,))
        db.execute("UPDATE ledger_totals SET repeats = repeats + 1")

    def _trim(self, db: sqlite3.Connection) -> None:
        """Delete the oldest lines beyond the limit whose events have left the spool, in batches."""
        if self._limits is None:
            return
        most, lines = self._limits.max_entries, _count_lines(db)
        if lines > most:
            surplus = min(max(lines - most, most // 1_000), TRIM)
            deleted = db.execute(_TRIM, (surplus,)).rowcount
            db.execute("UPDATE ledger_totals SET deleted = deleted + ?", (deleted,))


def _count_lines(db: sqlite3.Connection) -> int:
    return int(db.execute(_LINES).fetchone()[0])


def _find(db: sqlite3.Connection, put: PutRequest) -> Any:
    return db.execute(_FIND, (put.key, put.source, put.event_id)).fetchone()


def _is_lost(state: Any) -> bool:
    """Return whether a line says that its event was lost, or is itself damaged."""
    return not isinstance(state, int) or not 0 <= state < schema.LOST


def _line(row: Sequence[Any]) -> LedgerLine:
    """Build a ledger line from a row; values that no spool writes, on a damaged page, give a `lost` line."""
    number, source, event_id, taken_at, state, changed_at, repeats, reason, digest = row
    if not (isinstance(state, int) and 0 <= state < len(STATES) and isinstance(digest, bytes)):
        state, reason, digest = schema.LOST, "the line is damaged", b""
    return LedgerLine(
        number=number,
        source=str(source),
        id=str(event_id),
        taken_at=_number(taken_at),
        state=STATES[state],
        changed_at=_number(changed_at),
        repeats=int(_number(repeats)),
        reason=str(reason),
        digest=digest.hex(),
    )


def _number(value: Any) -> float:
    """Return a row's value if it is a number; 0 when damage has changed it to something else."""
    return value if isinstance(value, (int, float)) and value >= 0 else 0.0
