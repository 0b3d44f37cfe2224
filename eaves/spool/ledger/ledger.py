"""The ledger as the spool writes it and as everybody reads it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.events import Event
from eaves.spool.entry import PutOutcome
from eaves.spool.ledger import schema
from eaves.spool.ledger.line import STATES, LedgerCounts, LedgerLimits, LedgerLine, content_digest, line_key
from eaves.spool.selection import Read

_FIND = "SELECT number, digest, eid, state FROM ledger WHERE key = ? AND source = ? AND id = ?"
_FIND_KEYS = "SELECT key FROM ledger WHERE key IN (SELECT value FROM json_each(?))"
_LINES = f"SELECT {' + '.join(STATES)} FROM ledger_totals"  # noqa: S608 - constants
_NO_BOUND = 1 << 62
_COLUMNS = "number, source, id, taken_at, state, changed_at, repeats, reason, digest"
_COUNTS = f"SELECT {', '.join(STATES)}, repeats, conflicts, deleted FROM ledger_totals"  # noqa: S608 - constants
_SITE = schema.SITE.format("source")
_SITES = "SELECT site, lines FROM ledger_sites WHERE lines * (SELECT count(*) FROM ledger_sites WHERE lines > 0) > ?"
"""The sites that have more than their part of so many lines."""
_TRIM = (
    "DELETE FROM ledger WHERE number IN"  # noqa: S608 - constants
    f" (SELECT number FROM ledger WHERE {_SITE} = ? AND eid IS NULL ORDER BY number LIMIT ?)"
)
_TRIM_LOST = (
    f"DELETE FROM ledger WHERE {_SITE} = ? AND source = ?"  # noqa: S608 - constants
    " AND number < (SELECT max(number) FROM ledger) - ?"
)
"""Lines in the place of damaged ones belong to no site: each goes once so many newer ones were made as are kept."""
TRIM = 1_000
"""Lines that one new line deletes at most, when the bound was lowered say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What the ledger says of an event that is about to be put.

    Attributes:
        has_line: Whether it has a line.
        outcome: What it is when it isn't to be stored; None when it has no line, and when it was lost.
    """

    has_line: bool
    outcome: PutOutcome | None = None


NO_LINE = Recalled(has_line=False)


class Ledger:
    """The lines of one spool.

    Args:
        read: Runs a query on the spool's file.
        limits: How many lines are kept; None keeps what is there, as somebody who only reads it does.
    """

    def __init__(self, read: Read, limits: LedgerLimits | None = None) -> None:
        self._read = read
        self._limits = limits

    def read(self, *, after: int = 0, limit: int = 10_000, source_prefix: str = "") -> list[LedgerLine]:
        """Lines in the order of arrival.

        Args:
            after: Only lines with a higher number: the last one that was read before.
            limit: Most lines returned.
            source_prefix: Only events whose source begins with this.

        Raises:
            SpoolError: When the file can't be read.
        """
        site = schema.site_of(source_prefix)
        of_site = f"{_SITE} = ?4 AND " if site else ""  # an index finds the lines of one among those of many sites
        sql = (
            f"SELECT {_COLUMNS} FROM ledger WHERE {of_site}number > ?1"  # noqa: S608 - constants
            " AND (?2 = '' OR substr(source, 1, length(?2)) = ?2) ORDER BY number LIMIT ?3"
        )
        values = (after, source_prefix, limit, site) if site else (after, source_prefix, limit)
        lines = [_line(row) for row in self._read(sql, values)]
        if lines and not source_prefix:  # asked for after the lines, so that it never is less than what they lack
            lines[0] = replace(lines[0], deleted=self.counts().deleted)
        return lines

    def digest_of(self, source: str, event_id: str) -> bytes | None:
        """The digest of the content of an event that was put, as `content_digest` gives it.

        None without a line, and when the event was lost.
        """
        rows = self._read(_FIND, (line_key(source, event_id), source, event_id))
        return bytes(rows[0][1]) if rows and not _is_lost(rows[0][3]) else None

    def is_conflicting(self, event: Event) -> bool:
        """Whether another event was put under this event's source and id."""
        known = self.digest_of(event.source, event.id)
        return bool(known) and known != content_digest(event.attributes(), event.data)

    def counts(self) -> LedgerCounts:
        """How many lines there are."""
        *states, repeats, conflicts, deleted = self._read(_COUNTS, ())[0]
        by_state = dict(zip(STATES, states, strict=True))
        return LedgerCounts(**by_state, repeats=repeats, conflicts=conflicts, deleted=deleted)

    def add(
        self,
        db: sqlite3.Connection,
        *,
        source: str,
        event_id: str,
        key: int,
        digest: bytes,
        now: float,
        eid: int,
        is_new: bool = False,
        trims: bool = True,
    ) -> None:
        """Add the line of an event that was stored just now. Within a commit.

        An event that was stored although it has a line (`put` without `once`) keeps that line, which is queued again;
        so does one that was lost and came again.

        Args:
            db: Within the transaction.
            source: The event's.
            event_id: The event's.
            key: What `line_key` gives of both.
            digest: Of its content.
            now: Unix seconds.
            eid: Its number in the spool.
            is_new: Whether it is known to have no line.
            trims: Whether lines beyond the bound are deleted; whoever has counted them with `room` knows of none.
        """
        found = None if is_new else _find(db, source, event_id)
        if found is None:
            schema.insert(db, source=source, event_id=event_id, key=key, digest=digest, taken_at=now, eid=eid)
            if trims:
                self._trim(db)
            return
        number, _, waiting, state = found
        if not _is_lost(state):
            self._count_repeat(db, number)
        if waiting is None:
            sql = "UPDATE ledger SET state = ?, changed_at = ?, digest = ?, deleted = 0, reason = '', eid = ?"
            db.execute(f"{sql} WHERE number = ?", (schema.QUEUED, now, digest, eid, number))

    def room(self, db: sqlite3.Connection) -> int:
        """How many lines can be added before one is to be deleted. Within a commit."""
        if self._limits is None:
            return _NO_BOUND
        return self._limits.max_entries - _count_lines(db)

    def find_keys(self, db: sqlite3.Connection, keys: Collection[int]) -> set[int]:
        """Those of the keys that a line has, perhaps of another source and id. Within a commit."""
        return {key for (key,) in db.execute(_FIND_KEYS, (json.dumps(list(keys)),))}

    def has_line(self, db: sqlite3.Connection, *, source: str, event_id: str) -> bool:
        """Whether there is a line of this source and id. Within a commit."""
        return _find(db, source, event_id) is not None

    def recall(self, db: sqlite3.Connection, *, source: str, event_id: str, digest: bytes) -> Recalled:
        """What an event is by its line; a repetition or a conflict is counted. Within a commit."""
        found = _find(db, source, event_id)
        if found is None:
            return NO_LINE
        number, known, _, state = found
        if _is_lost(state):
            return Recalled(has_line=True)
        if known and known != digest:
            db.execute("UPDATE ledger_totals SET conflicts = conflicts + 1")
            return Recalled(has_line=True, outcome=PutOutcome.CONFLICTING)
        self._count_repeat(db, number)
        return Recalled(has_line=True, outcome=PutOutcome.REPEATED)

    def _count_repeat(self, db: sqlite3.Connection, number: int) -> None:
        db.execute("UPDATE ledger SET repeats = repeats + 1 WHERE number = ?", (number,))
        db.execute("UPDATE ledger_totals SET repeats = repeats + 1")

    def _trim(self, db: sqlite3.Connection) -> None:
        """Delete the oldest lines beyond the bound whose events have left the spool, some at a time.

        They are those of the sites that have more than their part of all lines, the one with the most first: however
        much one site sends, what the others have sent is remembered.
        """
        if self._limits is None:
            return
        most, lines = self._limits.max_entries, _count_lines(db)
        if lines > most:
            surplus = min(max(lines - most, most // 1_000), TRIM)
            deleted = db.execute(_TRIM_LOST, ("", schema.LOST_SOURCE, most)).rowcount
            for site, _ in db.execute(f"{_SITES} ORDER BY lines DESC", (most,)).fetchall():
                deleted += db.execute(_TRIM, (site, surplus - deleted)).rowcount
                if deleted >= surplus:
                    break
            db.execute("UPDATE ledger_totals SET deleted = deleted + ?", (deleted,))


def _count_lines(db: sqlite3.Connection) -> int:
    return int(db.execute(_LINES).fetchone()[0])


def _find(db: sqlite3.Connection, source: str, event_id: str) -> Any:
    return db.execute(_FIND, (line_key(source, event_id), source, event_id)).fetchone()


def _is_lost(state: Any) -> bool:
    """Whether a line says that its event was lost, or is damaged itself."""
    return not isinstance(state, int) or not 0 <= state < schema.LOST


def _line(row: Sequence[Any]) -> LedgerLine:
    """The line of a row; one that no spool writes, on a page that damage has changed, is `lost`."""
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
    """A value that was a number; 0 when damage has changed it."""
    return value if isinstance(value, (int, float)) and value >= 0 else 0.0
