"""The ledger of a spool: one line for each event that was put, which stays after the event was delivered.

The ledger is a table in the spool's file and changes in the same commit as the entry, so that after a kill a line's
state agrees with the queue. SQL triggers update a line's state for every writer of the file, including an operator's
purge. The line of an event that is still in the spool is never deleted. Of the other lines, the oldest ones beyond the
maximum number of lines are deleted and counted.

A ledger is exported as JSON lines, for programs such as `sort` and `comm`:

    {"number": 1, "source": "/eaves/mill/flowers", "id": "9f86...", "at": 1764072000.5, "state": "released",
     "repeats": 0, "digest": "1a2b3c4d5e6f7081"}

`reason` is present when an event was given up on or removed. `deleted` is present in the first line of a whole ledger:
the number of lines that it has deleted to keep its limit. Only `source` and `id` are required to read a line, so a list
that was made with other tools, such as a file of CloudEvents in JSON, can be compared as well.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from eaves.errors import InputError
from eaves.spool import ledger_schema as schema
from eaves.spool.entry import PutOutcome, PutRequest
from eaves.spool.ledger_schema import STATES, LineState, line_key

Read = Callable[[str, Sequence[Any]], list[Any]]
"""Function that runs a query and returns its rows."""
_INTACT = (
    "typeof(source) = 'text' AND typeof(id) = 'text' AND typeof(taken_at) = 'real' AND typeof(changed_at) = 'real'"
    f" AND typeof(repeats) = 'integer' AND typeof(digest) = 'blob' AND state BETWEEN 0 AND {schema.REMOVED}"
)
"""SQL for a line whose values a spool has written; others, on a damaged page, count as missing."""
_FIND = f"SELECT number, digest, eid FROM ledger WHERE key = ? AND source = ? AND id = ? AND {_INTACT}"  # noqa: S608 - constants
_FIND_KEYS = "SELECT key FROM ledger WHERE key IN (SELECT value FROM json_each(?))"
_INSERT = "INSERT INTO ledger(key, digest, source, id, taken_at, changed_at, eid) VALUES(?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "number, source, id, taken_at, state, changed_at, repeats, reason, digest"
_COUNTS = "SELECT lines, repeats, conflicts, deleted FROM ledger_totals"
_SITE = schema.SITE.format("source")
MAX_LINE = 1 << 20
"""Maximum length of an exported line that is read, bytes."""
_MAX_NUMBER = 1 << 62
_LAST_AT = 253_402_300_799.0
"""Largest time that an exported line may have, Unix seconds: the end of the year 9999."""


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
            dead letters' budget was used up.
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
    """Counters of a ledger.

    Attributes:
        lines: Number of its lines.
        repeats: Number of events that came again since the ledger was created.
        conflicts: Number of events with the source and id of another event since the ledger was created. They were not
            stored.
        deleted: Number of lines that were deleted to keep `LedgerLimits.max_entries` since the ledger was created.
    """

    lines: int
    repeats: int
    conflicts: int
    deleted: int


class Ledger:
    """The lines of one spool's ledger.

    Args:
        read: Function that runs a query on the spool's file.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def read(self, *, after: int = 0, limit: int = 10_000, site: str = "") -> list[LedgerLine]:
        """Return lines in the order of arrival.

        Args:
            after: Line number above which lines are returned, usually that of the last line that was read before.
            limit: Maximum number of lines.
            site: Site of the events, for sources of the form `/eaves/SITE/NAME`; empty for all events.

        Raises:
            SpoolError: When the file can't be read.
        """
        of_site = f"{_SITE} = ?3 AND" if site else ""  # an index finds the lines of one site among those of many sites
        sql = f"SELECT {_COLUMNS} FROM ledger WHERE {of_site} number > ?1 AND {_INTACT} ORDER BY number LIMIT ?2"  # noqa: S608 - constants
        lines = [_line(row) for row in self._read(sql, (after, limit, *([site] if site else [])))]
        if lines and not site:  # counted after the lines were read, so that the number never is too small
            lines[0] = replace(lines[0], deleted=self.counts().deleted)
        return lines

    def find(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the line of one event; None when the event has none.

        Raises:
            SpoolError: When the file can't be read.
        """
        sql = f"SELECT {_COLUMNS} FROM ledger WHERE key = ? AND source = ? AND id = ? AND {_INTACT}"  # noqa: S608 - constants
        rows = self._read(sql, (line_key(source, event_id), source, event_id))
        return _line(rows[0]) if rows else None

    def counts(self) -> LedgerCounts:
        """Return the ledger's counters."""
        lines, repeats, conflicts, deleted = self._read(_COUNTS, ())[0]
        return LedgerCounts(lines=lines, repeats=repeats, conflicts=conflicts, deleted=deleted)

    def add(self, db: sqlite3.Connection, put: PutRequest, *, now: float, eid: int, is_new: bool) -> None:
        """Add the line of an event that was just stored, within a commit.

        An event that was stored although it has a line (`put` without `once`) keeps that line, which is
        `queued` again.

        Args:
            db: Connection within the transaction.
            put: The event.
            now: Current time, Unix seconds.
            eid: Row id of the event in the spool.
            is_new: Whether the event is known to have no line.
        """
        found = None if is_new else _find(db, put)
        if found is None:
            db.execute(_INSERT, (put.key, put.digest, put.source, put.event_id, now, now, eid))
            return
        number, _, waiting = found
        self._count_repeat(db, number)
        if waiting is None:
            sql = "UPDATE ledger SET state = ?, changed_at = ?, digest = ?, deleted = 0, reason = '', eid = ?"
            db.execute(f"{sql} WHERE number = ?", (schema.QUEUED, now, put.digest, eid, number))

    def find_keys(self, db: sqlite3.Connection, keys: Collection[int]) -> set[int]:
        """Return those of the keys that a ledger line has, within a commit.

        The line may have another source and id than the event with this key.
        """
        return {key for (key,) in db.execute(_FIND_KEYS, (json.dumps(list(keys)),))}

    def has_line(self, db: sqlite3.Connection, put: PutRequest) -> bool:
        """Return whether the event's source and id have a line, within a commit."""
        return _find(db, put) is not None

    def recall(self, db: sqlite3.Connection, put: PutRequest) -> PutOutcome | None:
        """Return why an event is not to be stored, within a commit; None for one without a line.

        A repetition or a conflict is counted.
        """
        found = _find(db, put)
        if found is None:
            return None
        if found[1] and found[1] != put.digest:
            db.execute("UPDATE ledger_totals SET conflicts = conflicts + 1")
            return PutOutcome.CONFLICTING
        self._count_repeat(db, found[0])
        return PutOutcome.REPEATED

    def _count_repeat(self, db: sqlite3.Connection, number: int) -> None:
        db.execute("UPDATE ledger SET repeats = repeats + 1 WHERE number = ?", (number,))
        db.execute("UPDATE ledger_totals SET repeats = repeats + 1")


def _find(db: sqlite3.Connection, put: PutRequest) -> Any:
    return db.execute(_FIND, (put.key, put.source, put.event_id)).fetchone()


def _line(row: Sequence[Any]) -> LedgerLine:
    number, source, event_id, taken_at, state, changed_at, repeats, reason, digest = row
    return LedgerLine(
        number=number,
        source=source,
        id=event_id,
        taken_at=taken_at,
        state=STATES[state],
        changed_at=changed_at,
        repeats=repeats,
        reason=str(reason),
        digest=digest.hex(),
    )


def to_dict(line: LedgerLine) -> dict[str, Any]:
    """Convert a line to plain data, as it is exported."""
    values = {
        "number": line.number,
        "source": line.source,
        "id": line.id,
        "at": line.taken_at,
        "state": line.state,
        "repeats": line.repeats,
        "digest": line.digest or None,
        "reason": line.reason or None,
        "deleted": line.deleted,
    }
    return {name: value for name, value in values.items() if value is not None}


def encode_lines(lines: Iterable[LedgerLine]) -> bytes:
    """Encode lines as ASCII JSON, each with a line break at its end."""
    return "".join(f"{json.dumps(to_dict(line))}\n" for line in lines).encode()


def parse_line(values: Any, number: int = 0) -> LedgerLine:
    """Parse a line from plain data.

    Args:
        values: Value that `to_dict` returned, or a mapping with `source` and `id`.
        number: Number of the line when the values have none.

    Raises:
        ValueError: When the values are not a line.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not the call
    for name in ("source", "id"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise ValueError(f"it has no {name}")
    state = values.get("state", "released")
    if state not in STATES:
        raise ValueError(f"its state is not one of {', '.join(STATES)}")
    known = {"number": number, "at": 0.0, "repeats": 0, **values}
    for name, most in (("number", _MAX_NUMBER), ("at", _LAST_AT), ("repeats", _MAX_NUMBER)):
        if not _is_number(known[name], most):
            raise ValueError(f"its {name} is not a number: {str(known[name])[:64]!r}")
    reason, digest, deleted = (values.get(name) for name in ("reason", "digest", "deleted"))
    return LedgerLine(
        number=int(known["number"]),
        source=values["source"],
        id=values["id"],
        taken_at=float(known["at"]),
        state=state,
        changed_at=float(known["at"]),
        repeats=int(known["repeats"]),
        reason=reason[:300] if isinstance(reason, str) else "",
        digest=digest[:300] if isinstance(digest, str) else "",
        deleted=deleted if isinstance(deleted, int) and _is_number(deleted, _MAX_NUMBER) else None,
    )


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def read_lines(stream: BinaryIO, origin: str) -> Iterator[LedgerLine]:
    """Yield the lines of a file, one at a time; empty lines are skipped.

    Args:
        stream: File opened for reading.
        origin: Name of the file in errors.

    Raises:
        InputError: At a line that can't be read.
    """
    number = count = 0
    while text := stream.readline(MAX_LINE + 1):
        number += 1
        if not text.strip():
            continue
        count += 1
        try:
            if len(text) > MAX_LINE:
                raise ValueError(f"it has more than {MAX_LINE} bytes")
            yield parse_line(json.loads(text), count)
        except (ValueError, RecursionError) as error:
            hint = "each line must be a JSON object with source and id, as `eaves relay ledger` prints it"
            raise InputError(f"{origin}: line {number} can't be read: {str(error)[:200]}", hint=hint) from error
