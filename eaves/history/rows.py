"""Columns of the history's file, and connections to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eaves.history.expendable_file import connect
from eaves.history.record import Record

STORED = "at, id, type, source, subject, extensions, size_bytes, text"
"""Columns that are written for each event."""
COLUMNS = f"seq, {STORED}"
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT,
    extensions TEXT, size_bytes INTEGER, text TEXT
)
"""
"""The table has no index: a search of 10,000 usual records takes 5 ms, and each index would make every event cost more,
whether a person looks or not."""


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that another process may be writing; nothing is changed. Threads may share the connection."""
    return connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def select_newest(db: sqlite3.Connection, after: int, limit: int) -> list[Record]:
    """Return the newest `limit` records with seq above `after`, oldest first."""
    sql = f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
    return parse_rows(reversed(db.execute(sql, (after, limit)).fetchall()))


def select_next(db: sqlite3.Connection, after: int, limit: int) -> list[Record]:
    """Return the first `limit` records with seq above `after`, oldest first."""
    sql = f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    return parse_rows(db.execute(sql, (after, limit)).fetchall())


def parse_rows(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    """Return the records of rows that have `COLUMNS`."""
    return [
        Record(
            seq=seq,
            at=at,
            id=event_id,
            type=kind,
            source=source,
            subject=subject,
            extensions=_parse(extensions),
            size_bytes=size,
            text=text,
        )
        for seq, at, event_id, kind, source, subject, extensions, size, text in rows
    ]


def build_values(record: Record) -> tuple[object, ...]:
    """Return the values of `COLUMNS` for a record, to store it in another table."""
    extensions = json.dumps(record.extensions, ensure_ascii=False)
    about = (record.seq, record.at, record.id, record.type, record.source, record.subject)
    return *about, extensions, record.size_bytes, record.text


def _parse(text: str) -> dict[str, str]:
    """Parse recorded extensions; return an empty dict when the record is damaged."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
