"""What an operator does with entries of a queue: select, list and measure them; retry, redrive, drop and purge.

Each change is made in commits of at most `BATCH` entries, so that deliveries continue meanwhile, and wakes the
deliverers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eaves.spool import limits
from eaves.spool.entry import to_event
from eaves.spool.ledger import Read
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
        source: Source of the event, or the last part of its path.
        reason: Text that the last failure's reason contains.
        prefix: Beginning of the event's source.
        outside: Text that the event's source doesn't begin with.
        put_before: Time before which the event was put, Unix seconds.
        after: Sequence number above which entries are selected.
    """

    seqs: tuple[int, ...] | None = None
    lane: str | None = None
    state: str | None = None
    source: str | None = None
    reason: str | None = None
    prefix: str | None = None
    outside: str | None = None
    put_before: float | None = None
    after: int = 0

    def narrow(self, *, state: str | None, after: int) -> Selection:
        """Return the same selection limited to one state and to sequence numbers above `after`."""
        return replace(self, state=state or self.state, after=max(after, self.after))

    def where(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL condition over `deliveries JOIN events`, and its values."""
        given: list[tuple[str, tuple[Any, ...]]] = [("seq > ?", (self.after,))]
        if self.seqs is not None:
            given.append(("seq IN (SELECT value FROM json_each(?))", (json.dumps(self.seqs),)))
        if self.lane is not None:
            given.append(("lane = ?", (self.lane,)))
        if self.state is not None:
            given.append(("state = ?", (self.state,)))
        if self.source is not None:
            ending = f"/{self.source}"
            given.append(("(source = ? OR substr(source, -length(?)) = ?)", (self.source, ending, ending)))
        if self.reason is not None:
            given.append(("instr(reason, ?) > 0", (self.reason,)))
        if self.prefix is not None:
            given.append(("substr(source, 1, length(?)) = ?", (self.prefix, self.prefix)))
        if self.outside is not None:
            given.append(("substr(source, 1, length(?)) <> ?", (self.outside, self.outside)))
        if self.put_before is not None:
            given.append(("put_at < ?", (self.put_before,)))
        values = tuple(value for _, some in given for value in some)
        return " AND ".join(condition for condition, _ in given), values


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
    return list_stored(spool.database().read, selection, limit)


def measure(spool: Spool, selection: Selection) -> tuple[int, int]:
    """Return the number of selected entries, and the size of their data and attributes in bytes."""
    where, values = selection.where()
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
    return _change(spool, selection, None, _MAKE_DEAD, _DROP)


def dead_letter_lane(spool: Spool, lane: str, reason: str, *, outside: str | None = None) -> int:
    """Make dead letters of the queued entries of a lane that nothing delivers at present; return how many.

    Args:
        spool: Spool of the entries.
        lane: Name of the lane.
        reason: Reason of the dead letters.
        outside: Beginning of the sources of entries that stay queued; None for none.
    """
    made, after = 0, 0
    now, chosen = spool.clock.now(), Selection(lane=lane, state=QUEUED, outside=outside)
    while seqs := select_seqs(spool.database().read, replace(chosen, after=after), BATCH):
        after = seqs[-1]

        def keep(db: sqlite3.Connection, seqs: list[int] = seqs) -> list[limits.Expired]:
            for seq in seqs:
                limits.make_dead(db, seq, reason, 0, now)
            return limits.keep_budget(db, spool.limits, now)

        limits.log_expired(spool.database().commit(keep))
        made += len(seqs)
    return made


def _change(spool: Spool, selection: Selection, state: str | None, *statements: str) -> int:
    """Run SQL statements on the selected entries in batches; return how many rows the last statement changed in all."""
    if state and selection.state not in (None, state):
        return 0
    count, after = 0, 0
    while seqs := select_seqs(spool.database().read, selection.narrow(state=state, after=after), BATCH):
        after = seqs[-1]
        count += spool.database().commit(partial(_execute, statements=statements, values=(json.dumps(seqs),)))
        spool.wake()
    return count


def _execute(db: sqlite3.Connection, *, statements: Sequence[str], values: Sequence[Any]) -> int:
    count = 0
    for sql in statements:
        count = db.execute(sql, values).rowcount
    return count


def select_seqs(read: Read, selection: Selection, limit: int) -> list[int]:
    """Return the sequence numbers of the selected entries, ascending."""
    where, values = selection.where()
    sql = f"SELECT seq FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [row[0] for row in read(sql, (*values, limit))]


def list_stored(read: Read, selection: Selection, limit: int) -> list[Stored]:
    """Return the selected entries in the order they were put."""
    where, values = selection.where()
    sql = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [_stored(row) for row in read(sql, (*values, limit))]


def _stored(row: Any) -> Stored:
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    try:
        attributes = to_event(values.pop("attributes"), b"").attributes()
    except (ValueError, KeyError):
        attributes = {}
    shown: dict[str, Any] = {name: attributes.get(name) or "" for name in ("type", "subject", "datacontenttype")}
    due = values.pop("not_before")
    return Stored(**values, **shown, not_before=0.0 if due == FREED else due)
