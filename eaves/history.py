"""What flowed through a platform, for people: the events accepted, newest kept, nothing promised.

A record, never a queue: losing it loses no event. Images are noted by size only.
"""

from __future__ import annotations

import json
import logging
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

_log = logging.getLogger(__name__)


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


_INSERT = (
    "INSERT INTO records (at, id, type, source, subject, extensions, size_bytes, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    "SELECT seq, at, id, type, source, subject, extensions, size_bytes, text FROM records"
    " WHERE seq > ? ORDER BY seq DESC LIMIT ?"
)
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
            self._db.execute("PRAGMA synchronous=OFF")  # may be lost with the power; the event itself is in the spool
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise PlatformError(f"the history {path} can't be opened: {error}", hint=f"remove {path}") from error

    def add(self, event: Event) -> None:
        """Note one accepted event; a record that can't be written is logged and missing, and refuses no event."""
        is_json = (event.datacontenttype or "").partition(";")[0].strip().lower().endswith(("/json", "+json"))
        text = event.data[:MAX_TEXT].decode(errors="replace") if is_json else ""
        row = (time.time(), event.id, event.type, event.source, event.subject or "", json.dumps(dict(event.extensions)))
        try:
            self._insert((*row, len(event.data), text))
        except sqlite3.Error as error:
            _log.warning("event %s is not recorded: %s", event.id[:64], error)

    def _insert(self, row: tuple[object, ...]) -> None:
        with self._lock:
            cursor = self._db.execute(_INSERT, row)
            if (cursor.lastrowid or 0) % 100 == 0:
                self._db.execute("DELETE FROM records WHERE seq <= ?", ((cursor.lastrowid or 0) - KEEP,))

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """The newest `limit` records with seq above `after`, oldest first."""
        with self._lock:
            rows = self._db.execute(
                _SELECT,
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
