"""What flowed through a platform, for people: the events accepted, newest kept, nothing promised.

A record, never a queue: losing it loses no event. Images are noted by size only.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.errors import PlatformError
from eaves.events import Event

KEEP = 10_000
"""Records kept; a record is well under a kilobyte."""
MAX_TEXT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event that was accepted.

    Attributes:
        seq: Its place in the order of arrival.
        at: When, unix seconds.
        id: Of the event.
        type: Of the event.
        source: Of the event.
        subject: Of the event, "" without one.
        extensions: Of the event.
        size_bytes: Of its data.
        text: Its data when that is JSON, cut at 2,000 characters; "" otherwise.
    """

    seq: int
    at: float
    id: str
    type: str
    source: str
    subject: str
    extensions: dict[str, str]
    size_bytes: int
    text: str


class History(Protocol):
    """What flowed."""

    def add(self, event: Event) -> None:
        """Note one accepted event."""

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """The newest `limit` records with seq above `after`, oldest first."""


_COLUMNS = "at, id, type, source, subject, extensions, size_bytes, text"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT,
    extensions TEXT, size_bytes INTEGER, text TEXT
)
"""


class FileHistory:
    """A history in one SQLite file; several processes may read while one writes.

    Raises:
        PlatformError: When the file can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=OFF"
            )  # a record may be lost with the power; the event itself is in the spool
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise PlatformError(f"the history {path} can't be opened: {error}", hint=f"remove {path}") from error

    def add(self, event: Event) -> None:
        """Note one accepted event."""
        is_json = (event.datacontenttype or "").endswith("json")
        text = event.data[:MAX_TEXT].decode(errors="replace") if is_json else ""
        row = (time.time(), event.id, event.type, event.source, event.subject or "", json.dumps(dict(event.extensions)))
        with self._lock:
            cursor = self._db.execute(
                f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, len(event.data), text),
            )
            if (cursor.lastrowid or 0) % 100 == 0:
                self._db.execute("DELETE FROM records WHERE seq <= ?", ((cursor.lastrowid or 0) - KEEP,))

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """The newest `limit` records with seq above `after`, oldest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT seq, {_COLUMNS} FROM records WHERE seq > ? ORDER BY seq DESC LIMIT ?",
                (after, limit),
            ).fetchall()
        return [
            Record(
                seq=seq,
                at=at,
                id=event_id,
                type=kind,
                source=source,
                subject=subject,
                extensions=json.loads(extensions),
                size_bytes=size,
                text=text,
            )
            for seq, at, event_id, kind, source, subject, extensions, size, text in reversed(rows)
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
