"""Reading of a damaged spool file, with repair of a destroyed schema."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eaves.spool.file import schema, write_ahead_log
from eaves.spool.file.database import BUSY_TIMEOUT_S
from eaves.spool.file.sqlite_errors import UNREADABLE
from eaves.spool.ledger import schema as ledger_schema

_PROBES = (
    "SELECT count(*) FROM sqlite_master",
    "SELECT seq, lane, eid, state, attempts, not_before, status, reason, died_at FROM deliveries LIMIT 0",
    "SELECT eid, source, id, attributes, size_bytes, put_at, data FROM events LIMIT 0",
)
"""Queries that succeed when the schema is usable; none of them reads a row of a spool's tables."""
_CHANGED_BYTES = 512
"""Maximum number of changed bytes in a page that is still compared with the same page of a new spool, to find out which
schema a damaged file has."""
_INDEX_PAGES = (2, 10)
"""Values that the first byte of a page with an index can have. Source: sqlite.org/fileformat.html, section 1.6."""
_PIECE = 200
_LAST_KEY = 1 << 62


@contextlib.contextmanager
def open_damaged(path: Path, *, ledger: bool) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection to the damaged file.

    When the schema is destroyed, the connection reads a copy of the file with a repaired schema.

    Args:
        path: Path of the damaged file.
        ledger: Whether the spool had a ledger, as far as the caller knows; used when the file doesn't show it.
    """
    copy = path.with_name(f"{path.name}.salvage-copy")
    try:
        with contextlib.closing(_read_only(path)) as db:
            try:
                for sql in _PROBES:
                    db.execute(sql).fetchone()
            except UNREADABLE:
                pass
            else:
                yield db
                return
        remove_database(copy)
        _repair_schema(path, copy, ledger=ledger)
        with contextlib.closing(_read_only(copy)) as db:
            yield db
    finally:
        remove_database(copy)


def remove_database(path: Path) -> None:
    """Delete a database and the files that SQLite keeps beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _repair_schema(path: Path, copy: Path, *, ledger: bool) -> None:
    """Copy a spool, replacing its first page and the other pages that hold the schema with those of a new spool.

    The tables of every spool that this version created begin on the same pages, and the pages of the schema never
    change.
    Source: sqlite.org/fileformat.html, section 1.3: the size in pages at offset 28 is valid when offsets 24 and 92 are
    equal; the freelist at 32 is discarded.
    """
    shutil.copyfile(path, copy)
    write_ahead_log.apply(path, copy)
    pages, roots, size = _choose_model(path, copy, ledger=ledger)
    first = bytearray(pages[:size])
    first[28:32] = (copy.stat().st_size // size).to_bytes(4, "big")
    first[92:96] = first[24:28]
    first[32:40] = bytes(8)
    with copy.open("r+b") as stream:
        stream.write(first)
        for number in range(2, len(pages) // size + 1):
            if number not in roots:
                stream.seek((number - 1) * size)
                stream.write(pages[(number - 1) * size : number * size])


def _choose_model(path: Path, copy: Path, *, ledger: bool) -> tuple[bytes, set[int], int]:
    """Return a model, a new spool with or without a ledger, whose schema is most similar to that of a damaged spool.

    Only pages that both files have and that are mostly undamaged are compared. A destroyed page must not make the
    result a spool without a ledger, because all ledger lines would be lost. When the comparison gives no answer,
    `ledger` decides.
    """
    with_ledger, without = (_model(path, ledger=kept) for kept in (True, False))
    pairs = [
        tuple(_count_differences(copy, model[0], number, model[2]) for model in (with_ledger, without))
        for number in _schema_pages(*without)
    ]
    intact = [(one, other) for one, other in pairs if min(one, other) <= _CHANGED_BYTES]
    likeness = sum(one - other for one, other in intact)
    if likeness < 0:  # a ledger that was added to an existing spool has its tables on other pages
        is_same = not any(one for one, _ in pairs)
        return with_ledger if is_same or _has_ledger_index(copy, with_ledger, without[1]) else without
    return with_ledger if likeness == 0 and ledger else without


def _has_ledger_index(copy: Path, model: tuple[bytes, set[int], int], others: set[int]) -> bool:
    """Return whether an index of the ledger begins on the same page as in a model.

    Args:
        copy: Path of the damaged file.
        model: A new spool with a ledger: content, root pages and page size.
        others: Pages on which the tables and indexes of a spool without a ledger begin.
    """
    pages, roots, size = model
    with copy.open("rb") as stream:
        found = stream.read(len(pages)).ljust(len(pages), b"\0")
    starts = [(number - 1) * size for number in roots - others]
    return any(pages[start] in _INDEX_PAGES and found[start] in _INDEX_PAGES for start in starts)


def _schema_pages(pages: bytes, roots: set[int], size: int) -> list[int]:
    """Return the numbers of the pages that hold the schema, except the first page."""
    return [number for number in range(2, len(pages) // size + 1) if number not in roots]


def _model(path: Path, *, ledger: bool) -> tuple[bytes, set[int], int]:
    """Create a new spool as a model; return its content, the pages on which its tables begin, and the page size."""
    model = path.with_name(f"{path.name}.salvage-model")
    model.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(model, isolation_level=None)) as db:
            schema.ensure(db, model)
            if ledger:
                ledger_schema.ensure(db)
            size = int(db.execute("PRAGMA page_size").fetchone()[0])
            roots = {row[0] for row in db.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")}
        return model.read_bytes(), roots, size
    finally:
        model.unlink(missing_ok=True)


def _count_differences(path: Path, pages: bytes, number: int, size: int) -> int:
    """Return how many bytes of a page differ between a damaged file and a model, the content of a new spool."""
    start = (number - 1) * size
    with path.open("rb") as stream:
        stream.seek(start)
        found = stream.read(size).ljust(size, b"\0")
    return sum(one != other for one, other in zip(found, pages[start : start + size], strict=True))


def read_rows(db: sqlite3.Connection, table: str, key: str, columns: str) -> Iterator[Sequence[Any]]:
    """Yield every readable row of a table in the order of its integer key."""
    sql = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608 - constants
    last = 0
    while True:
        try:
            rows = _fetch(db, sql, last, _PIECE)
        except UNREADABLE:
            try:
                rows = _fetch(db, sql, last, 1)
            except UNREADABLE:
                after = _next_readable(db, sql, last)
                if after is None:
                    return
                last = after
                continue
        if not rows:
            return
        yield from rows
        last = rows[-1][0]


def _fetch(db: sqlite3.Connection, sql: str, last: int, limit: int) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = db.execute(sql, (last, limit)).fetchall()
    if any(after[0] <= before[0] for before, after in itertools.pairwise([(last,), *rows])):
        raise sqlite3.DatabaseError("keys out of order")  # SQLite doesn't check this, and reading on would never end
    return rows


def _next_readable(db: sqlite3.Connection, sql: str, failing: int) -> int | None:
    """Return the lowest readable key above `failing`, a key that can't be read; None when there is none."""

    def readable(key: int) -> bool:
        try:
            _fetch(db, sql, key, 1)
        except UNREADABLE:
            return False
        return True

    step = 1
    while not readable(failing + step):
        step *= 2
        if failing + step > _LAST_KEY:
            return None
    low, high = failing + step // 2, failing + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if readable(middle) else (middle, high)
    return high
