"""What an operator does with entries of a queue: select, list and measure them; retry, redrive, drop and purge.

Each change is made in commits of at most `BATCH` entries, so that deliveries continue meanwhile, and wakes the
deliverers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from eaves.errors import InputError
from eaves.spool import limits
from eaves.spool.entry import to_event
from eaves.spool.limits import BATCH
from eaves.spool.queue import Spool
from eaves.spool.schema import DEAD, FREED, QUEUED

_REDRIVE = (
    "UPDATE deliveries SET state = 'queued', attempts = 0, not_before = 0"
    " WHERE state = 'dead' AND seq IN (SELECT value FROM json_each(?))"
)
_RETRY = (
    f"UPDATE deliveries SET not_before = CASE WHEN attempts > 0 THEN {FREED} ELSE 0.0 END"  # noqa: S608 - constants
    " WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
)
_MAKE_DEAD = "UPDATE deliveries SET state = 'dead' WHERE state = 'queued' AND seq IN (SELECT value FROM json_each(?))"
_DROP = "DELETE FROM deliveries WHERE seq IN (SELECT value FROM json_each(?))"
"""Statement that deletes entries. The ledger records a dead letter that is deleted as `removed`, and a queued entry
that is deleted as `released`.
"""

STATES = (QUEUED, DEAD)
MAX_SEQ = (1 << 63) - 1
"""Maximum sequence number of an entry: the largest integer that SQLite stores."""
SITE_AT = len("/eaves/") + 1
"""Position of the site's name in a source, as SQL counts."""


_TABLES = "deliveries NOT INDEXED JOIN events USING(eid)"
"""SQL that joins entries and events and reads them in the order of `seq`. NOT INDEXED keeps SQLite from using the index
by lane, with which it would sort a large queue again for every batch."""
_COLUMNS = "seq, lane, state, source, id, attributes, size_bytes, attempts, put_at, not_before, status, reason, died_at"
_FIELDS = [{"id": "event_id"}.get(name, name) for name in _COLUMNS.split(", ")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions that select entries; an entry must meet all that are given. Without any, all entries are selected.

    Attributes:
        seqs: Sequence numbers to select from.
        lane: Name of the lane.
        state: `queued` or `dead`.
        source: Source of the event, `/eaves/SITE/NAME`, or the last part of its path.
        reason: Text that the last failure's reason contains.
        older_than_s: Time since which the entry was put at least, seconds.
        after: Sequence number above which entries are selected, to list a large queue page by page.
        prefix: Beginning of the event's source.
        outside: Text that the event's source doesn't begin with.

    Raises:
        InputError: When a value is out of its range.
    """

    seqs: tuple[int, ...] = ()
    lane: str = ""
    state: str = ""
    source: str = ""
    reason: str = ""
    older_than_s: float = 0.0
    after: int = 0
    prefix: str = ""
    outside: str = ""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if wrong := [seq for seq in (*self.seqs, self.after) if not 0 <= seq <= MAX_SEQ]:
            raise InputError(f"not the number of a queue entry: {str(wrong[0])[:64]}", hint="eaves queue list")
        if self.state not in ("", *STATES):
            raise InputError(f"state must be one of {', '.join(STATES)} (got {self.state[:64]!r})")
        if self.older_than_s < 0:
            raise InputError(f"older_than_s must be a number of seconds >= 0 (got {self.older_than_s})")

    @property
    def is_everything(self) -> bool:
        """Whether there is no condition, so that every entry is selected."""
        return all(getattr(self, one.name) == one.default for one in fields(Selection))

    def where(self, now: float) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL condition over `deliveries JOIN events` at a time (Unix seconds), and its values."""
        ending = f"/{self.source}"
        conditions: list[tuple[object, str, tuple[Any, ...]]] = [
            (self.seqs, "seq IN (SELECT value FROM json_each(?))", (json.dumps(self.seqs),)),
            (self.lane, "lane = ?", (self.lane,)),
            (self.state, "state = ?", (self.state,)),
            (self.source, "(source = ? OR substr(source, -length(?)) = ?)", (self.source, ending, ending)),
            (self.reason, "instr(reason, ?) > 0", (self.reason,)),
            (self.prefix, "substr(source, 1, length(?)) = ?", (self.prefix, self.prefix)),
            (self.outside, "substr(source, 1, length(?)) <> ?", (self.outside, self.outside)),
            (self.older_than_s, "put_at < ?", (now - self.older_than_s,)),
        ]
        given = [("seq > ?", (self.after,)), *((sql, values) for value, sql, values in conditions if value)]
        return " AND ".join(sql for sql, _ in given), tuple(value for _, values in given for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An entry as an operator sees it, without its data.

    Attributes:
        seq: Sequence number.
        lane: Name of the lane.
        state: `queued` or `dead`.
        source: Source of the event.
        event_id: Id of the event.
        type: Type of the event; empty when the row is damaged.
        subject: Subject of the event; empty when it has none.
        datacontenttype: Content type of the event's data; empty when it has none.
        size_bytes: Size of data and attributes in bytes.
        attempts: Number of failed attempts.
        put_at: Time at which the event was put, Unix seconds.
        not_before: Time at which the entry is due again, Unix seconds; 0 when it is due now.
        status: HTTP status that made the entry a dead letter; 0 otherwise.
        reason: Reason for the last failure.
        died_at: Time at which the entry became a dead letter, Unix seconds; 0 when it is queued.
    """

    seq: int
    lane: str
    state: str
    source: str
    event_id: str
    type: str
    subject: str
    datacontenttype: str
    size_bytes: int
    attempts: int
    put_at: float
    not_before: float
    status: int
    reason: str
    died_at: float


def list_entries(spool: Spool, selection: Selection, *, limit: int = 100) -> list[Stored]:
    """Return the selected entries, queued and dead, without their data, in the order they were put."""
    where, values = selection.where(spool.clock.now())
    sql = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [_stored(row) for row in spool.database().read(sql, (*values, limit))]


def measure(spool: Spool, selection: Selection) -> tuple[int, int]:
    """Return the number of selected entries, and the size of their data and attributes in bytes."""
    where, values = selection.where(spool.clock.now())
    sql = f"SELECT count(*), total(size_bytes) FROM deliveries JOIN events USING(eid) WHERE {where}"  # noqa: S608 - bound
    (row,) = spool.database().read(sql, values)
    return int(row[0]), int(row[1])


def measure_sites(spool: Spool, lane: str) -> dict[str, tuple[int, int]]:
    """Return number and bytes of a lane's queued entries by site, for sources of the form `/eaves/SITE/...`."""
    site = f"substr(source, {SITE_AT}, instr(substr(source, {SITE_AT}), '/') - 1)"
    sql = (
        f"SELECT {site}, count(*), total(size_bytes) FROM deliveries JOIN events USING(eid)"  # noqa: S608 - constants
        " WHERE lane = ? AND state = 'queued' GROUP BY 1"
    )
    return {name: (count, int(size_bytes)) for name, count, size_bytes in spool.database().read(sql, (lane,))}


def redrive(spool: Spool, selection: Selection) -> int:
    """Queue the selected dead letters again and reset their attempts; return how many."""
    return _change(spool, selection, DEAD, _REDRIVE)


def retry_now(spool: Spool, selection: Selection) -> int:
    """Make the selected queued entries due now; return how many."""
    return _change(spool, selection, QUEUED, _RETRY)


def drop(spool: Spool, selection: Selection) -> int:
    """Delete the selected entries permanently, queued ones and dead letters; return how many."""
    return _change(spool, selection, selection.state, _MAKE_DEAD, _DROP)


def dead_letter_lane(spool: Spool, lane: str, reason: str, *, outside: str = "") -> int:
    """Make dead letters of the queued entries of a lane that nothing delivers at present; return how many.

    Args:
        spool: Spool of the entries.
        lane: Name of the lane.
        reason: Reason of the dead letters.
        outside: Beginning of the sources of entries that stay queued; empty for none.
    """
    made, after = 0, 0
    now, chosen = spool.clock.now(), Selection(lane=lane, state=QUEUED, outside=outside)
    while seqs := _select_seqs(spool, replace(chosen, after=after)):
        after = seqs[-1]

        def keep(db: sqlite3.Connection, seqs: list[int] = seqs) -> list[limits.Expired]:
            for seq in seqs:
                limits.make_dead(db, seq, reason, 0, now)
            return limits.keep_budget(db, spool.limits, now)

        limits.log_expired(spool.database().commit(keep))
        made += len(seqs)
    return made


def _change(spool: Spool, selection: Selection, state: str, *statements: str) -> int:
    """Run SQL statements on the selected entries in batches; return how many rows the last statement changed in all."""
    if selection.state not in ("", state):
        return 0
    count, after = 0, selection.after
    while seqs := _select_seqs(spool, replace(selection, state=state, after=after)):
        after = seqs[-1]
        count += spool.database().commit(partial(_execute, statements=statements, values=(json.dumps(seqs),)))
        spool.wake()
    return count


def _execute(db: sqlite3.Connection, *, statements: Sequence[str], values: Sequence[Any]) -> int:
    count = 0
    for sql in statements:
        count = db.execute(sql, values).rowcount
    return count


def _select_seqs(spool: Spool, selection: Selection) -> list[int]:
    """Return the sequence numbers of the next batch of selected entries, ascending."""
    where, values = selection.where(spool.clock.now())
    sql = f"SELECT seq FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [row[0] for row in spool.database().read(sql, (*values, BATCH))]


def _stored(row: Any) -> Stored:
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    try:
        attributes = to_event(values.pop("attributes"), b"").attributes()
    except (ValueError, KeyError):
        attributes = {}
    shown: dict[str, Any] = {name: attributes.get(name) or "" for name in ("type", "subject", "datacontenttype")}
    due = values.pop("not_before")
    return Stored(**values, **shown, not_before=0.0 if due == FREED else due)
