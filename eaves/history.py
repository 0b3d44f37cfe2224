"""The history of a platform's accepted events, for people. It keeps the newest events and may lose any of them.

The history is a record and not a queue: losing it loses no event. It stores only the size of an image. The number of
records and the bytes are bounded. A damaged file is set aside and replaced: writes don't wait for the disk, so a power
failure may damage the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from eaves.base.clock import SYSTEM, Clock
from eaves.errors import PlatformError
from eaves.events import Event

KEEP = 10_000
"""Maximum number of records in the history."""
MAX_BYTES = 64_000_000
"""Default size limit of the file, bytes: 10,000 usual records, each well under a kilobyte, and room for large ones."""
MAX_TEXT = 2_000
"""Maximum number of characters that are stored of an event's JSON data."""
MAX_ATTRIBUTE = 512
"""Maximum number of characters that are stored of one attribute of an event."""
MAX_EXTENSIONS = 4_096
"""Maximum number of characters that are stored of all extension attributes together, including their names."""
STEP = 10
"""Number of records added between two checks of the file's size. A check deletes at most twice as many records, so that
no event waits long."""
WAL_PAGES = 250
"""Number of pages in SQLite's write-ahead log at which a checkpoint copies them into the file; 250 pages are 1 MB."""

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""SQLite's error codes for a damaged file. Source: sqlite.org/rescode.html; extended codes have these in their lowest
byte."""

INCREMENTAL = 2
"""SQLite's value for incremental vacuum. Source: sqlite.org/pragma.html, auto_vacuum."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One accepted event.

    Attributes:
        seq: Position in the order of arrival.
        at: Time of arrival, Unix seconds.
        id: The event's id; this and the other attributes are truncated to `MAX_ATTRIBUTE` characters.
        type: The event's type.
        source: The event's source.
        subject: The event's subject; empty when it has none.
        extensions: The event's extension attributes, as many as fit into `MAX_EXTENSIONS` characters.
        size_bytes: Size of the event's data, bytes.
        text: The event's data when that is JSON, truncated to `MAX_TEXT` characters; empty otherwise.
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
    """Interface of a history of accepted events."""

    def add(self, event: Event) -> None:
        """Record one accepted event."""

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` records with seq above `after`, oldest first."""


_INSERT = (
    "INSERT INTO records (at, id, type, source, subject, extensions, size_bytes, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    "SELECT seq, at, id, type, source, subject, extensions, size_bytes, text FROM records"
    " WHERE seq > ? ORDER BY seq DESC LIMIT ?"
)
_SELECT_NEXT = (
    "SELECT seq, at, id, type, source, subject, extensions, size_bytes, text FROM records"
    " WHERE seq > ? ORDER BY seq LIMIT ?"
)
_DELETE = "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE seq <= ? ORDER BY seq LIMIT ?)"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, id TEXT, type TEXT, source TEXT, subject TEXT,
    extensions TEXT, size_bytes INTEGER, text TEXT
)
"""


class FileHistory:
    """A history in one SQLite file; several processes may read it while one process writes.

    A damaged file is renamed to `NAME.damaged`, which replaces an older file of that name, and an empty history is
    created. A file that can't be used for another reason is tried again with the next event.

    Args:
        path: Path of the file.
        max_bytes: Size limit of the file, bytes; beyond it the oldest records are deleted. SQLite's write-ahead log
            beside the file takes another megabyte or two.
        clock: Clock for the times of the records.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, clock: Clock = SYSTEM) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._added = 0
        self._failing = False
        self._write(lambda db: None)

    def add(self, event: Event) -> None:
        """Record one accepted event. A record that can't be written is left out; the event stays accepted."""
        is_json = (event.datacontenttype or "").partition(";")[0].strip().lower().endswith(("/json", "+json"))
        text = event.data[:MAX_TEXT].decode(errors="replace") if is_json else ""
        attributes = [_cut(value or "") for value in (event.id, event.type, event.source, event.subject)]
        extensions = json.dumps(_cut_extensions(event.extensions), ensure_ascii=False)
        row = (self._clock.now(), *attributes, extensions, len(event.data), text)
        self._write(lambda db: self._insert(db, row))

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` records with seq above `after`, oldest first.

        Raises:
            PlatformError: When the file can't be read for a reason other than damage.
        """
        try:
            return self._attempt(lambda db: _select(db, after, limit))
        except (sqlite3.Error, OSError) as error:
            raise PlatformError(f"the history {self._path} can't be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._close()

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run an operation on the file; log the first of consecutive failures, and their end."""
        try:
            self._attempt(work)
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                _log.error("the history %s can't be written, so events are not recorded: %s", self._path, error)
            self._failing = True
        else:
            if self._failing:
                _log.info("the history %s can be written again", self._path)
            self._failing = False

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation on the file; when the file turns out to be damaged, run it again on an empty one."""
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the history is closed")
            try:
                return work(self._open())
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
            return work(self._open())

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = _connect(self._path, check_same_thread=False)
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # the file can shrink, a few pages at a time
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")  # a power failure may lose writes; the event is in the spool
            self._db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
            self._db.execute(f"PRAGMA journal_size_limit={2 * WAL_PAGES * 4096}")
            self._db.execute(_SCHEMA)
            if _ask(self._db, "auto_vacuum") != INCREMENTAL:
                self._db.execute("VACUUM")  # rewrites a file of an older version, so that it can shrink afterwards
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _set_aside(self, error: sqlite3.Error) -> None:
        self._close()
        aside = Path(f"{self._path}.damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        _log.error("the history is damaged (%s); it was renamed to %s, and a new one was started", error, aside)

    def _insert(self, db: sqlite3.Connection, row: tuple[object, ...]) -> None:
        last = db.execute(_INSERT, row).lastrowid or 0
        self._added += 1
        if self._added % STEP == 0:
            self._trim(db, last)

    def _trim(self, db: sqlite3.Connection, last: int) -> None:
        """Delete the oldest records beyond either limit, a few at a time, and free their pages."""
        pages, free, max_pages = (
            _ask(db, "page_count"),
            _ask(db, "freelist_count"),
            self._max_bytes // _ask(db, "page_size"),
        )
        db.execute(_DELETE, (last if pages - free > max_pages else last - KEEP, 2 * STEP))
        if pages > max_pages:
            db.executescript(f"PRAGMA incremental_vacuum({WAL_PAGES})")  # `execute` would stop after the first page


def read_history(path: Path, *, limit: int = 100) -> list[Record]:
    """Return the newest `limit` records of a history that another process may be writing, oldest first.

    Args:
        path: Path of the file; when it doesn't exist the history is empty.
        limit: Maximum number of records.

    Raises:
        PlatformError: When the file can't be read.
    """
    return _read_file(path, lambda db: _select(db, 0, limit))


def read_next(path: Path, *, after: int, limit: int) -> list[Record]:
    """Return the first `limit` records after a given one in a history, oldest first, so that a reader misses none.

    Args:
        path: Path of the file, which another process may be writing; no record when it isn't there.
        after: `Record.seq` of the record before the first one wanted; 0 reads from the beginning.
        limit: Maximum number of records to return.

    Raises:
        PlatformError: When the file can't be read.
    """
    return _read_file(path, lambda db: _parse_rows(db.execute(_SELECT_NEXT, (after, limit)).fetchall()))


def _read_file(path: Path, read: Callable[[sqlite3.Connection], list[Record]]) -> list[Record]:
    if not path.exists():
        return []
    try:
        with contextlib.closing(_connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return read(db)
    except sqlite3.Error as error:
        hint = "start `eaves up`; it renames a damaged history and starts a new one"
        raise PlatformError(f"the history {path} can't be read: {error}", hint=hint) from error


def _connect(database: Path | str, **options: Any) -> sqlite3.Connection:
    """Open a file in autocommit mode; bytes that are not UTF-8 are read as U+FFFD."""
    db: sqlite3.Connection = sqlite3.connect(database, isolation_level=None, timeout=5, **options)
    db.text_factory = lambda content: content.decode(errors="replace")
    return db


def _select(db: sqlite3.Connection, after: int, limit: int) -> list[Record]:
    return _parse_rows(reversed(db.execute(_SELECT, (after, limit)).fetchall()))


def _parse_rows(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
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


def _parse(text: str) -> dict[str, str]:
    """Parse recorded extensions; return an empty dict when the record is damaged."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _is_damage(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in DAMAGED


def _ask(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _cut(text: str) -> str:
    """Truncate an attribute, and replace characters that UTF-8 can't encode."""
    return text[:MAX_ATTRIBUTE].encode(errors="replace").decode()


def _cut_extensions(extensions: Mapping[str, str]) -> dict[str, str]:
    kept, room = {}, MAX_EXTENSIONS
    for name, value in extensions.items():
        room -= len(name) + len(_cut(value))
        if room < 0:
            break
        kept[name] = _cut(value)
    return kept
