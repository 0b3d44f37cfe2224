"""The history in a file, which one process writes, and others read while it is written."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import PlatformError
from eaves.events import CHOSEN, DATASET_UPDATED, IMAGE_REJECTED, MODEL_PUBLISHED, MODEL_SHIFTED, Event
from eaves.history.expendable_file import ExpendableFile, connect
from eaves.history.record import COLUMNS, MAX_CHOICES, Record, RecordFilter, SourceRecords, build_row, parse_rows

KEEP = 10_000
"""Maximum number of records in the history."""
MAX_BYTES = 64_000_000
"""Default size limit of the file, bytes: 10,000 usual records, each well under a kilobyte, and room for large ones."""
STEP = 10
"""Number of records added between two checks of the file's size. A check deletes at most twice as many records, so that
no event waits long."""
MAX_LEVELS = 4
"""Maximum number of events, each the cause of the next, that a chain is followed over."""
MAX_CHAIN = 100
"""Maximum number of records in a chain."""
HINT = "start `eaves up`; it renames a damaged history and starts a new one"
_ASKED = ("label", "confidence", "causesource", "causeid")
"""Extension attributes that have a column of their own, so that SQL can find records by them; empty without one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT,
    extensions TEXT, size_bytes INTEGER, text TEXT, label TEXT, confidence TEXT, causesource TEXT, causeid TEXT
);
DROP TABLE IF EXISTS records;
"""
"""Earlier versions wrote `records`, which nothing reads. The table has no index: a search of 10,000 usual records takes
5 ms, and each index would make every event cost more, whether a person looks or not."""
_INSERT = f"INSERT INTO events VALUES (NULL{', ?' * (8 + len(_ASKED))})"  # noqa: S608 - constants
_DELETE = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= ? ORDER BY seq LIMIT ?)"
_MATCHES = """
    (:types = '[]' OR type IN (SELECT value FROM json_each(:types))) AND at >= :since AND at <= :until
    AND :label IN ('', label) AND :confidence IN ('', confidence)
    AND (:source IN ('', source, causesource) OR '/' || :source IN (
        substr(source, -length(:source) - 1), substr(causesource, -length(:source) - 1)))
    AND instr(lower(subject), lower(:text))
"""
"""Condition of a filter. `lower` changes the letters a to z only, and an empty text is within every text."""
_IS_CAPTURE = f"""causeid = '' AND type NOT IN (?, ?, ?) AND instr(extensions, '"{CHOSEN}": ') = 0"""
_CAPTURE_VALUES = (DATASET_UPDATED, MODEL_PUBLISHED, MODEL_SHIFTED)
"""Condition of events that a source of images has sent, apart from images that are sent again because they are chosen
for labelling, and the types of events that none sends."""
_MAX_SEQ = (1 << 63) - 1


class FileHistory:
    """Writes a history; several processes may read it with `HistoryReader` meanwhile.

    A damaged file is renamed to `NAME.damaged`, which replaces an older file of that name, and an empty history is
    created. A file that can't be used for another reason is tried again with the next event.

    Args:
        path: Path of the file.
        max_bytes: Size limit of the file, bytes; beyond it the oldest records are deleted. SQLite's write-ahead log
            beside the file takes another megabyte or two.
        clock: Clock for the times of the records.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._file = ExpendableFile(
            path, schema=_SCHEMA, max_bytes=max_bytes, name="history", loss="events are not recorded"
        )
        self._added = 0
        self._file.write(lambda db: None)

    def add(self, event: Event) -> None:
        """Record one accepted event. A record that can't be written is left out; the event stays accepted."""
        asked = tuple(_clean(event.extensions.get(name, "")) for name in _ASKED)
        row = (*build_row(event, self._clock.now()), *asked)
        self._file.write(lambda db: self._insert(db, row))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _insert(self, db: sqlite3.Connection, row: tuple[object, ...]) -> None:
        last = db.execute(_INSERT, row).lastrowid or 0
        self._added += 1
        if self._added % STEP == 0:
            # Deletes the oldest records beyond either limit, a few at a time.
            db.execute(_DELETE, (last if self._file.is_too_large(db) else last - KEEP, 2 * STEP))


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
        return sum(seq for (seq,) in self._query("SELECT seq FROM events ORDER BY seq DESC LIMIT 1"))

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        """Return the first `limit` records after the record `after`, oldest first."""
        return self._find("seq > ? ORDER BY seq", (_bound(after),), limit=limit)

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        """Return the newest `limit` matching records older than the record `before`, newest first."""
        texts = {name: _clean(getattr(wanted, name)) for name in ("source", "label", "confidence", "text")}
        values = {
            **texts,
            "types": json.dumps([*map(_clean, wanted.types)]),
            "since": -math.inf if wanted.since is None else wanted.since,
            "until": math.inf if wanted.until is None else wanted.until,
            "before": _MAX_SEQ if before is None else _bound(before),
        }
        return self._find(f"seq < :before AND {_MATCHES} ORDER BY seq DESC", values, limit=limit)

    def get(self, seq: int) -> Record | None:
        """Return one record; None when it was deleted or never existed."""
        return next(iter(self._find("seq = ?", (_bound(seq),))), None)

    def chain(self, record: Record) -> Sequence[Record]:
        """Return the records of the same image, oldest first: its capture, and all that it caused."""
        first = record
        for _ in range(MAX_LEVELS):
            if first.cause is None:
                break
            earlier = "seq < ? AND source = ? AND id = ? ORDER BY seq DESC"
            first = next(iter(self._find(earlier, (first.seq, *map(_clean, first.cause)), limit=1)), first)
        chain = {first.identity: first, record.identity: record}
        known = {first.image, *chain}
        # An effect is newer than its cause; when the first cause was deleted, its effects may be anywhere.
        begin = first.seq if first.cause is None else 0
        sql = "SELECT seq, causesource, causeid, source, id FROM events WHERE seq >= ? AND causeid != '' ORDER BY seq"
        seqs: list[int] = []
        for seq, cause_source, cause_id, source, event_id in self._query(sql, (begin,)):
            if (cause_source, cause_id) in known and len(seqs) < MAX_CHAIN:
                known.add((source, event_id))
                seqs.append(seq)
        for one in self._find("seq IN (SELECT value FROM json_each(?)) ORDER BY seq", (json.dumps(seqs),)):
            chain.setdefault(one.identity, one)
        return sorted(chain.values(), key=lambda one: one.seq)

    def causes(self, records: Iterable[Record]) -> Mapping[int, Record]:
        """Return the record of the event that caused each of these predictions, by `Record.seq` of the prediction."""
        causes = {record.seq: record.cause for record in records if record.cause is not None}
        ids = json.dumps([_clean(event_id) for _, event_id in causes.values()])
        found = self._find("id IN (SELECT value FROM json_each(?)) ORDER BY seq", (ids,))
        newest = {
            seq: [one for one in found if one.identity == cause and one.seq < seq] for seq, cause in causes.items()
        }
        return {seq: matching[-1] for seq, matching in newest.items() if matching}

    def labels(self) -> Sequence[str]:
        """Return the labels that predictions have, in alphabetical order."""
        return sorted(self._list_newest("label", f"label != '' AND causeid != '' AND type != '{IMAGE_REJECTED}'"))

    def sources(self) -> Sequence[str]:
        """Return the `source` attributes of events that no other event caused, in order."""
        return sorted(self._list_newest("source", _IS_CAPTURE, _CAPTURE_VALUES))

    def by_source(self) -> Sequence[SourceRecords]:
        """Return the newest records of each source, the source with the newest one first."""
        predictions = f"causeid != '' AND type != '{IMAGE_REJECTED}'"
        captured = self._list_newest("source", _IS_CAPTURE, _CAPTURE_VALUES)
        predicted = self._list_newest("causesource", predictions)
        functions = self._list_newest("source", predictions)
        seqs = json.dumps([*captured.values(), *predicted.values()])
        by_seq = {one.seq: one for one in self._find("seq IN (SELECT value FROM json_each(?))", (seqs,))}
        found = [
            SourceRecords(
                source=source,
                captured=by_seq.get(captured.get(source, 0)),
                predicted=by_seq.get(predicted.get(source, 0)),
            )
            for source in (captured.keys() | predicted.keys()) - functions.keys()
        ]
        newest = {one.newest.seq: one for one in found if one.newest}
        return [newest[seq] for seq in sorted(newest, reverse=True)[:MAX_CHOICES]]

    def _list_newest(self, column: str, condition: str, values: Sequence[object] = ()) -> dict[str, int]:
        """Return the values of a column with the newest records, each with `Record.seq` of its newest one."""
        group = f"GROUP BY {column} ORDER BY max(seq) DESC LIMIT {MAX_CHOICES}"
        return dict(self._query(f"SELECT {column}, max(seq) FROM events WHERE {condition} {group}", values))  # noqa: S608 - constants

    def _find(self, condition: str, values: Any, *, limit: int = _MAX_SEQ) -> list[Record]:
        """Return the records that meet a condition in SQL, in its order."""
        sql = f"SELECT {COLUMNS} FROM events WHERE {condition} LIMIT {limit}"  # noqa: S608 - values are parameters
        return parse_rows(self._query(sql, values))

    def _query(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none when the file isn't there or has no table.

        Raises:
            PlatformError: When the file can't be read.
        """
        if not self._path.exists():
            return []
        try:
            with contextlib.closing(connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if "no such table" in str(error):  # it is being created
                return []
            raise PlatformError(f"the history {self._path} can't be read: {error}", hint=HINT) from error


def _bound(seq: int) -> int:
    """Return the number, or the nearest one that SQLite can store."""
    return max(-1, min(seq, _MAX_SEQ))


def _clean(text: str) -> str:
    """Replace characters that UTF-8 can't encode, as the history does when it stores an attribute."""
    return text.encode(errors="replace").decode()
