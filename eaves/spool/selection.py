"""Queries for entries: those of a lane that are due, in delivery order, and those that an operator selects."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.spool.entry import to_event
from eaves.spool.ledger import Read
from eaves.spool.schema import FREED

LONGEST_WAIT_S = 7_200.0
"""Maximum plausible wait until an entry is due, in seconds. An entry with a later due time is due now: no back-off is
longer than an hour, so the clock was set back after the due time was written.
"""
ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, crc, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)
"""Query for the columns from which `build_entry` makes an `Entry`."""

_LEFT_OUT = "seq NOT IN (SELECT value FROM json_each(?4))"
_QUEUED = f"SELECT seq FROM deliveries WHERE lane = ?1 AND state = 'queued' AND seq > ?3 AND {_LEFT_OUT}"  # noqa: S608 - constants
# Entries that failed before are selected in the order of their due times, which is close to the order of their numbers.
# Sorting all of them by number in each query would take longer the more there are.
_FAILED = (
    f" UNION ALL SELECT seq FROM ({_QUEUED} AND not_before > 0 AND not_before <= ?2 ORDER BY not_before LIMIT ?5)"  # noqa: S608 - constants
    f" UNION ALL SELECT seq FROM ({_QUEUED} AND not_before > ?2 + ?6 ORDER BY not_before LIMIT ?5)"
)
_NEWEST = (
    "SELECT seq FROM deliveries WHERE lane = ? AND state = 'queued' AND not_before = 0"
    " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq DESC LIMIT 1"
)

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
        put_before: Time before which the event was put, Unix seconds.
        after: Sequence number above which entries are selected.
    """

    seqs: tuple[int, ...] | None = None
    lane: str | None = None
    state: str | None = None
    source: str | None = None
    reason: str | None = None
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


def select_due(
    read: Read, lane: str, *, limit: int, now: float, exclude: Collection[int] = (), after: int = 0
) -> list[Any]:
    """Return the first entries of a lane that are due, as rows of `ENTRY`; see `Spool.peek`."""
    values = (lane, now, after, json.dumps(list(exclude)), limit, LONGEST_WAIT_S)
    return read(f"{ENTRY} WHERE seq IN ({_first_due('ASC')}) ORDER BY seq", values)


def select_newest(read: Read, lane: str, *, exclude: Collection[int] = ()) -> list[Any]:
    """Return the newest entry of a lane that was never tried, as rows of `ENTRY` (one or none)."""
    return read(f"{ENTRY} WHERE seq = ({_NEWEST})", (lane, json.dumps(list(exclude))))


def choose_batch(
    read: Read,
    lane: str,
    *,
    now: float,
    max_events: int,
    max_bytes: int,
    newest_first: bool = False,
    untried: bool = False,
    after: int = 0,
) -> list[int]:
    """Return the sequence numbers of due entries that fit into one batch, in order; see `Spool.peek_batch`.

    No data is read.
    """
    order = "DESC" if newest_first else "ASC"
    values = (lane, now, after, "[]", max_events, LONGEST_WAIT_S)
    sizes = read(
        "SELECT seq, ifnull(CAST(size_bytes AS INTEGER), 0) FROM deliveries JOIN events USING(eid)"  # noqa: S608 - constants
        f" WHERE seq IN ({_first_due(order, failed='' if untried else _FAILED)}) ORDER BY seq {order}",
        values[:-1] if untried else values,
    )
    chosen: list[int] = []
    total = 0
    for seq, size_bytes in sizes:
        total += size_bytes
        if (chosen or after) and total > max_bytes:
            break
        chosen.append(seq)
    return chosen


def select_batch(read: Read, seqs: Sequence[int], *, newest_first: bool = False) -> list[Any]:
    """Return entries by their sequence numbers as rows of `ENTRY`, oldest or newest first."""
    order = "DESC" if newest_first else "ASC"
    sql = f"{ENTRY} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq {order}"  # noqa: S608 - constants
    return read(sql, (json.dumps(seqs),))


def read_next_due(read: Read, lane: str, *, exclude: Collection[int] = ()) -> float | None:
    """Return the Unix time in seconds at which the next entry of a lane is due; None when only `exclude` is queued."""
    sql = (
        "SELECT not_before FROM deliveries WHERE lane = ? AND state = 'queued'"
        " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY not_before LIMIT 1"
    )
    rows = read(sql, (lane, json.dumps(list(exclude))))
    return float(rows[0][0]) if rows else None


def _first_due(order: str, *, failed: str = _FAILED) -> str:
    """Return the query for the first due entries of a lane in an order of their numbers."""
    fresh = f"SELECT seq FROM ({_QUEUED} AND not_before = 0 ORDER BY seq {order} LIMIT ?5)"  # noqa: S608 - constants
    return f"{fresh}{failed} ORDER BY seq {order} LIMIT ?5"
