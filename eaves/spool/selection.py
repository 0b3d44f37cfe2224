"""Queries for entries: those of a lane that are due, in delivery order, and those that an operator selects."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.spool.entry import to_event
from eaves.spool.ledger import Read
from eaves.spool.schema import FREED

ENTRY = (
    "SELECT seq, lane, attributes, data, attempts, put_at, crc, reason, status, died_at"
    " FROM deliveries JOIN events USING(eid)"
)
"""Query for the columns from which `build_entry` makes an `Entry`."""

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


def choose_untried(
    read: Read,
    lane: str,
    *,
    limit: int,
    max_bytes: int = 0,
    newest_first: bool = False,
    exclude: Collection[int] = (),
) -> list[int]:
    """Return the sequence numbers of entries that never failed and fit into one request; see `Spool.peek`.

    No data is read.
    """
    order = "DESC" if newest_first else "ASC"
    # The join is before the limit, so an entry whose event is missing in a damaged file hides no other.
    sizes = read(
        "SELECT seq, ifnull(CAST(size_bytes AS INTEGER), 0) FROM deliveries CROSS JOIN events USING(eid)"  # noqa: S608 - constants
        " WHERE lane = ? AND state = 'queued' AND not_before = 0 AND seq NOT IN (SELECT value FROM json_each(?))"
        f" ORDER BY seq {order} LIMIT ?",
        (lane, json.dumps(list(exclude)), limit),
    )
    chosen: list[int] = []
    total = 0
    for seq, size_bytes in sizes:
        total += size_bytes
        if chosen and 0 < max_bytes < total:
            break
        chosen.append(seq)
    return chosen


def select_entries(read: Read, seqs: Sequence[int], *, newest_first: bool = False) -> list[Any]:
    """Return entries by their sequence numbers as rows of `ENTRY`, oldest or newest first."""
    order = "DESC" if newest_first else "ASC"
    sql = f"{ENTRY} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq {order}"  # noqa: S608 - constants
    return read(sql, (json.dumps(seqs),))
