"""Choosing entries of a queue, as an operator does: by number, lane, state, source, reason, age."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.spool.entry import to_event
from eaves.spool.file.schema import FREED

Read = Callable[[str, Sequence[Any]], list[Any]]
"""Runs a query and returns its rows."""

_TABLES = "deliveries NOT INDEXED JOIN events USING(eid)"
"""In the order of `seq`. By the index of lanes every piece of a large queue would be sorted anew."""
_COLUMNS = "seq, lane, state, source, id, attributes, size_bytes, attempts, put_at, not_before, status, reason, died_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries are meant; with nothing given, all of them. What is given must all hold.

    Attributes:
        seqs: Only entries of these sequence numbers.
        lane: Only this lane.
        state: Only `queued` or only `dead`.
        source: Only events of this source, or whose source's last part is this.
        reason: Only those whose last failure contains this text.
        put_before: Only those put before, Unix seconds.
        after: Only sequence numbers above.
    """

    seqs: tuple[int, ...] | None = None
    lane: str | None = None
    state: str | None = None
    source: str | None = None
    reason: str | None = None
    put_before: float | None = None
    after: int = 0

    def narrow(self, *, state: str | None, after: int) -> Selection:
        """The same, of one state and beyond a sequence number."""
        return replace(self, state=state or self.state, after=max(after, self.after))

    def where(self) -> tuple[str, tuple[Any, ...]]:
        """The condition over `deliveries JOIN events`, and its values."""
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
        seq: Its sequence number.
        lane: Where it is to be delivered.
        state: `queued` or `dead`.
        source: The event's.
        event_id: The event's.
        type: The event's, empty when its row is damaged.
        subject: The event's, empty when it has none.
        datacontenttype: The event's, empty when it has none.
        size_bytes: Its data and attributes.
        attempts: Failed ones.
        put_at: When it was put, Unix seconds.
        not_before: When it is due again, Unix seconds; 0 when it is due.
        status: HTTP status that decided a dead letter, 0 otherwise.
        reason: Of the last failure.
        died_at: When it became a dead letter, Unix seconds; 0 when it is none.
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
    """The sequence numbers of the chosen entries, ascending."""
    where, values = selection.where()
    sql = f"SELECT seq FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [row[0] for row in read(sql, (*values, limit))]


def list_stored(read: Read, selection: Selection, limit: int) -> list[Stored]:
    """The chosen entries, in the order they were put."""
    where, values = selection.where()
    sql = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - bound
    return [_stored(row) for row in read(sql, (*values, limit))]


def _stored(row: Any) -> Stored:
    seq, lane, state, source, event_id, text, size_bytes, attempts, put_at, not_before, status, reason, died_at = row
    try:
        attributes = to_event(text, b"").attributes()
    except (ValueError, KeyError):
        attributes = {}
    return Stored(
        seq=seq,
        lane=lane,
        state=state,
        source=source,
        event_id=event_id,
        type=attributes.get("type") or "",
        subject=attributes.get("subject") or "",
        datacontenttype=attributes.get("datacontenttype") or "",
        size_bytes=size_bytes,
        attempts=attempts,
        put_at=put_at,
        not_before=0.0 if not_before == FREED else not_before,
        status=status,
        reason=reason,
        died_at=died_at,
    )
