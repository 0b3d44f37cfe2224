"""Reading of a history for pages, while another process writes it.

SQL finds the records that may match, and Python decides, so that a filter means the same everywhere.
"""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from eaves.events import DATASET_UPDATED, IMAGE_REJECTED, MODEL_PUBLISHED
from eaves.history.file_history import read_file, read_next
from eaves.history.record import COLUMNS, MAX_CHOICES, Record, RecordFilter, SourceRecords, parse_rows

MAX_LEVELS = 4
"""Maximum number of events, each the cause of the next, that a chain is followed over."""
MAX_CHAIN = 100
"""Maximum number of records in a chain."""
_MAX_SEQ = (1 << 63) - 1
_MAY_MATCH = (
    "seq < ?1 AND (?2 = '[]' OR type IN (SELECT value FROM json_each(?2))) AND at >= ?3 AND at <= ?4"
    " AND (instr(source, ?5) OR instr(extensions, ?6)) AND instr(extensions, ?7) AND instr(extensions, ?8)"
    " AND instr(lower(subject), lower(?9))"
)
"""Condition that every record that matches a filter meets; an empty text is within every text."""
_NO_SOURCE = (DATASET_UPDATED, MODEL_PUBLISHED)
"""Types of events that no source of images sends."""
_VALUES = """
SELECT max(seq), type, source,
    CASE WHEN valid THEN json_extract(extensions, '$.causesource') END AS cause,
    CASE WHEN valid THEN json_extract(extensions, '$.label') END AS label
FROM (
    SELECT seq, type, source, extensions, instr(extensions, '"cause') AND json_valid(extensions) AS valid FROM records
)
GROUP BY type, source, cause, label ORDER BY 1
"""

T = TypeVar("T")


class HistoryReader:
    """Implements `Records` on a history's file. Threads may share it.

    Each query opens the file, so the process that writes never waits, its log stays short, and a file that was renamed,
    deleted or replaced is noticed. A file that doesn't exist is an empty history.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def newest(self) -> int:
        """Return `Record.seq` of the newest record; 0 when there is none."""
        return self._read(_select_last, 0)

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        """Return the first `limit` records after the record `after`, oldest first."""
        return read_next(self._path, after=_bound(after), limit=limit)

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        """Return the newest `limit` matching records older than the record `before`, newest first."""
        source, first = _clean(wanted.source), _MAX_SEQ if before is None else _bound(before)
        values = (
            first,
            json.dumps([*map(_clean, wanted.types)]),
            -math.inf if wanted.since is None else wanted.since,
            math.inf if wanted.until is None else wanted.until,
            source,
            _encode(source),
            _encode(wanted.label),
            _encode(wanted.confidence),
            _clean(wanted.text),
        )
        return self._read(lambda db: _find(db, _MAY_MATCH, values, wanted.matches, limit), list[Record]())

    def get(self, seq: int) -> Record | None:
        """Return one record; None when it was deleted or never existed."""
        found = self._read(lambda db: _find(db, "seq = ?", (_bound(seq),)), list[Record]())
        return found[0] if found else None

    def chain(self, record: Record) -> Sequence[Record]:
        """Return the records of the same image, oldest first: its capture, and all that it caused."""
        return self._read(lambda db: _select_chain(db, record), [record])

    def causes(self, records: Iterable[Record]) -> Mapping[int, Record]:
        """Return the record of the event that caused each of these predictions, by `Record.seq` of the prediction."""
        causes = {record.seq: record.cause for record in records if record.cause is not None}
        ids = json.dumps([_clean(event_id) for _, event_id in causes.values()])
        found: dict[int, Record] = {}
        for record in self._read(
            lambda db: _find(db, "id IN (SELECT value FROM json_each(?))", (ids,)), list[Record]()
        ):
            for seq, cause in causes.items():
                if cause == record.identity and record.seq < seq:
                    found.setdefault(seq, record)
        return found

    def labels(self) -> Sequence[str]:
        """Return the labels that predictions have, in alphabetical order."""
        return _list_newest(self._read(_select_seen, _Seen()).labels)

    def sources(self) -> Sequence[str]:
        """Return the `source` attributes of events that no other event caused, in order."""
        return _list_newest(self._read(_select_seen, _Seen()).captured)

    def by_source(self) -> Sequence[SourceRecords]:
        """Return the newest records of each source, the source with the newest one first."""
        return self._read(lambda db: _select_by_source(db, _select_seen(db)), list[SourceRecords]())[:MAX_CHOICES]

    def _read(self, read: Callable[[sqlite3.Connection], T], empty: T) -> T:
        return read_file(self._path, read, empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Values that records have.

    Attributes:
        labels: `Record.seq` of the newest prediction with each label.
        captured: `Record.seq` of the newest event of each source that no other event caused.
        predicted: `Record.seq` of the newest prediction of an image of each source.
        functions: The sources of predictions.
    """

    labels: dict[str, int] = field(default_factory=dict)
    captured: dict[str, int] = field(default_factory=dict)
    predicted: dict[str, int] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)


def _bound(seq: int) -> int:
    """Return the number, or the nearest one that SQLite can store."""
    return max(-1, min(seq, _MAX_SEQ))


def _clean(text: str) -> str:
    """Replace characters that UTF-8 can't encode, as the history does when it stores an attribute."""
    return text.encode(errors="replace").decode()


def _encode(value: str) -> str:
    """Return a text as it is within the JSON of the extensions."""
    return json.dumps(_clean(value), ensure_ascii=False)[1:-1]


def _find(
    db: sqlite3.Connection,
    condition: str,
    values: Sequence[object],
    matches: Callable[[Record], bool] = lambda record: True,
    limit: int = _MAX_SEQ,
) -> list[Record]:
    """Return the newest `limit` records that meet a condition in SQL and one in Python, newest first."""
    sql = f"SELECT {COLUMNS} FROM records WHERE {condition} ORDER BY seq DESC"  # noqa: S608 - values are parameters
    found = (record for row in db.execute(sql, values) for record in parse_rows([row]))
    return list(itertools.islice(filter(matches, found), limit))


def _select_last(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT max(seq) FROM records").fetchone()[0] or 0)


def _select_chain(db: sqlite3.Connection, record: Record) -> list[Record]:
    first = record
    for _ in range(MAX_LEVELS):
        if first.cause is None:
            break
        source, event_id = map(_clean, first.cause)
        sql = "seq < ? AND id = ? AND source = ?"
        first = next(iter(_find(db, sql, (first.seq, event_id, source), limit=1)), first)
    chain = {first.identity: first, record.identity: record}
    known = {first.image, *chain}
    sql = f"SELECT {COLUMNS} FROM records WHERE seq >= ? AND instr(extensions, '\"causeid\"') ORDER BY seq"  # noqa: S608 - constants
    # An effect is newer than its cause; when the first cause was deleted, its effects may be anywhere.
    for row in db.execute(sql, (first.seq if first.cause is None else 0,)):
        (one,) = parse_rows([row])
        if one.cause in known and len(chain) < MAX_CHAIN:
            known.add(one.identity)
            chain.setdefault(one.identity, one)
    return sorted(chain.values(), key=lambda one: one.seq)


def _select_seen(db: sqlite3.Connection) -> _Seen:
    seen = _Seen()
    for seq, kind, source, cause, label in db.execute(_VALUES):  # the newest record of a value comes last
        if isinstance(cause, str) and kind != IMAGE_REJECTED:
            seen.predicted[cause] = seq
            seen.functions.add(source)
            if isinstance(label, str):
                seen.labels[label] = seq
        elif cause is None and kind not in _NO_SOURCE:
            seen.captured[source] = seq
    return seen


def _list_newest(values: Mapping[str, int]) -> list[str]:
    """Return the values with the newest records, in alphabetical order."""
    return sorted(sorted(values, key=values.__getitem__)[-MAX_CHOICES:])


def _select_by_source(db: sqlite3.Connection, seen: _Seen) -> list[SourceRecords]:
    seqs = [*seen.captured.values(), *seen.predicted.values()]
    by_seq = {one.seq: one for one in _find(db, "seq IN (SELECT value FROM json_each(?))", (str(seqs),))}
    found = [
        SourceRecords(
            source=source,
            captured=by_seq.get(seen.captured.get(source, 0)),
            predicted=by_seq.get(seen.predicted.get(source, 0)),
        )
        for source in (seen.captured.keys() | seen.predicted.keys()) - seen.functions
    ]
    return sorted((one for one in found if one.newest_seq), key=lambda one: -one.newest_seq)
