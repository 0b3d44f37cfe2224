"""Reading of a history for pages, with one kept connection, while another process writes it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from eaves.errors import PlatformError
from eaves.history.filter_sql import Condition, build_condition, clean, match_causes
from eaves.history.reading import HINT
from eaves.history.record import Record
from eaves.history.records import RecordFilter, SourceRecords
from eaves.history.rows import COLUMNS, connect_to_read, parse_rows, select_next
from eaves.history.seen_values import SeenValues

MAX_LEVELS = 4
"""Maximum number of events, each the cause of the next, that a chain is followed over."""
MAX_CHAIN = 100
"""Number of records beyond which a chain is followed no further."""
MAX_REPEATED = 10
"""Number of records of the same event that are read; an event that was sent again has several."""
_MAX_SEQ = (1 << 63) - 1

T = TypeVar("T")


class HistoryReader:
    """Implements `Records` on a history's file. Threads may share it; their queries run one after the other.

    Every query ends before its method returns, so the process that writes never waits and its log stays short. A file
    that was renamed, deleted or replaced is noticed before each query. A file that doesn't exist is an empty history.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._seen = SeenValues()

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        with self._lock:
            self._close()

    def newest(self) -> int:
        """Return `Record.seq` of the newest record; 0 when there is none."""
        return self._read(_select_last, 0)

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        """Return the first `limit` records after the record `after`, oldest first."""
        return self._read(lambda db: select_next(db, _bound(after), limit), [])

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        """Return the newest `limit` matching records older than the record `before`, newest first."""
        text, values = build_condition(wanted)
        condition = f"seq < ? AND {text}", (_MAX_SEQ if before is None else _bound(before), *values)
        return self._select(condition, limit)

    def get(self, seq: int) -> Record | None:
        """Return one record; None when it was deleted or never existed."""
        found = self._select(("seq = ?", (_bound(seq),)), 1)
        return found[0] if found else None

    def chain(self, record: Record) -> Sequence[Record]:
        """Return the records of the same image, oldest first: its capture, and all that it caused."""
        return self._read(lambda db: _select_chain(db, record), [record])

    def causes(self, records: Iterable[Record]) -> Mapping[int, Record]:
        """Return the record of the event that caused each of these predictions, by `Record.seq` of the prediction."""
        causes = {record.seq: record.cause for record in records if record.cause is not None}
        ids = sorted({clean(event_id) for _, event_id in causes.values()})
        if not ids:
            return {}
        condition = f"id IN ({', '.join('?' * len(ids))})", tuple(ids)
        found: dict[int, Record] = {}
        for record in self._select(condition, MAX_REPEATED * len(ids)):
            for seq, cause in causes.items():
                if cause == record.identity and record.seq < seq:
                    found.setdefault(seq, record)
        return found

    def labels(self) -> Sequence[str]:
        """Return the labels that predictions have, in alphabetical order."""
        return self._read(lambda db: sorted(self._update(db).labels), [])

    def sources(self) -> Sequence[str]:
        """Return the `source` attributes of events that no other event caused, in order."""
        return self._read(lambda db: sorted(self._update(db).captured), [])

    def by_source(self) -> Sequence[SourceRecords]:
        """Return the newest records of each source, the source with the newest one first."""
        return self._read(lambda db: _select_by_source(db, self._update(db)), [])

    def _select(self, condition: Condition, limit: int) -> list[Record]:
        return self._read(lambda db: _select(db, condition, limit), [])

    def _update(self, db: sqlite3.Connection) -> SeenValues:
        self._seen.update(db)
        return self._seen

    def _read(self, read: Callable[[sqlite3.Connection], T], empty: T) -> T:
        """Run a query; return `empty` when there is no file, or one that has no table yet."""
        with self._lock:
            try:
                db = self._open()
                return empty if db is None else read(db)
            except sqlite3.Error as error:
                is_current = self._identity == _identify(self._path)
                self._close()
                if not is_current or "no such table" in str(error):  # replaced meanwhile, or being created
                    return empty
                raise PlatformError(f"the history {self._path} can't be read: {error}", hint=HINT) from error

    def _open(self) -> sqlite3.Connection | None:
        identity = _identify(self._path)
        if identity != self._identity:
            self._close()
        if self._db is None and identity is not None:
            self._identity = identity
            self._db = connect_to_read(self._path)
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db, self._identity, self._seen = None, None, SeenValues()


def _identify(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None when the file can't be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _bound(seq: int) -> int:
    """Return the number, or the nearest one that SQLite can store."""
    return max(-1, min(seq, _MAX_SEQ))


def _select(db: sqlite3.Connection, condition: Condition, limit: int) -> list[Record]:
    """Return the newest matching records, newest first."""
    text, values = condition
    sql = f"SELECT {COLUMNS} FROM records WHERE {text} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - values are parameters
    return parse_rows(db.execute(sql, (*values, limit)).fetchall())


def _select_last(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT max(seq) FROM records").fetchone()
    return int(row[0] or 0)


def _select_chain(db: sqlite3.Connection, record: Record) -> list[Record]:
    first = record
    for _ in range(MAX_LEVELS):
        found = _select_cause(db, first)
        if found is None:
            break
        first = found
    chain = {first.identity: first, record.identity: record}
    level = {first.identity, first.image, record.identity}
    for _ in range(MAX_LEVELS):
        text, values = match_causes(sorted(level))
        # An effect is newer than its cause; when the first cause was deleted, its effects may be anywhere.
        after = first.seq if first.cause is None else 0
        effects = _select(db, (f"seq > ? AND {text}", (after, *values)), MAX_CHAIN)
        new = {one.identity: one for one in effects if one.identity not in chain}  # the oldest of repeated ones is last
        chain.update(new)
        level = set(new)
        if not level or len(chain) > MAX_CHAIN:
            break
    return sorted(chain.values(), key=lambda one: one.seq)


def _select_cause(db: sqlite3.Connection, reply: Record) -> Record | None:
    if reply.cause is None:
        return None
    source, event_id = map(clean, reply.cause)
    found = _select(db, ("seq < ? AND id = ? AND source = ?", (reply.seq, event_id, source)), 1)
    return found[0] if found else None


def _select_by_source(db: sqlite3.Connection, seen: SeenValues) -> list[SourceRecords]:
    seqs = [*seen.captured.values(), *seen.predicted.values()]
    sql = f"SELECT {COLUMNS} FROM records WHERE seq IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
    by_seq = {one.seq: one for one in parse_rows(db.execute(sql, (str(seqs),)).fetchall())}
    found = [
        SourceRecords(
            source=source,
            captured=by_seq.get(seen.captured.get(source, 0)),
            predicted=by_seq.get(seen.predicted.get(source, 0)),
        )
        for source in (seen.captured.keys() | seen.predicted.keys()) - seen.functions.keys()
    ]
    return sorted((one for one in found if one.newest_seq), key=lambda one: -one.newest_seq)
