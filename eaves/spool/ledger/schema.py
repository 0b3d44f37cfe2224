"""SQL tables and triggers of the ledger, which only a spool that was opened with a ledger has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from typing import Any

from eaves.spool.ledger.line import REASON_CHARACTERS, STATES, content_digest, line_key

QUEUED, RELEASED, DEAD, REMOVED, LOST = range(len(STATES))
PIECE = 200
"""Number of events without a ledger line that are read and given lines at a time."""
LOST_SOURCE = "urn:eaves:lost"
"""Event source in a ledger line that replaces a damaged line; the event id in such a line is `line-NUMBER`."""

_NOW = "(julianday('now') - 2440587.5) * 86400.0"
"""SQL for Unix seconds with milliseconds. Source: sqlite.org/lang_datefunc.html; `unixepoch('subsec')` needs SQLite
3.42.
"""
_IGNORED = "(SELECT lane FROM ledger_ignored)"
_ANY = f"SELECT 1 FROM deliveries WHERE lane NOT IN {_IGNORED} AND eid"  # noqa: S608 - constants
_LEFT = f"EXISTS ({_ANY} = old.eid)"
_LEFT_QUEUED = f"EXISTS ({_ANY} = old.eid AND state = 'queued')"
_IN_SPOOL = "EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid)"
_ADD_NEW = ", ".join(f"{name} = {name} + (new.state = {number})" for number, name in enumerate(STATES))
_MOVE = ", ".join(
    f"{name} = {name} + (new.state = {number}) - (old.state = {number})" for number, name in enumerate(STATES)
)
_TAKE_OLD = ", ".join(f"{name} = {name} - (old.state = {number})" for number, name in enumerate(STATES))

_TABLES = f"""\
CREATE TABLE ledger(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key INTEGER NOT NULL,  -- 64 bits of SHA-256 of source, NUL and id
    digest BLOB NOT NULL,  -- of the event's content
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    taken_at REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT {QUEUED},
    changed_at REAL NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,  -- deliveries that were deleted as dead letters
    reason TEXT NOT NULL DEFAULT '',
    eid INTEGER  -- of its event while that is in the spool
);

CREATE INDEX ledger_by_key ON ledger(key);

CREATE INDEX ledger_by_event ON ledger(eid);

CREATE TABLE ledger_ignored(lane TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE ledger_totals(
    {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in STATES)},
    repeats INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0
);

INSERT INTO ledger_totals DEFAULT VALUES;

CREATE TRIGGER ledger_in AFTER INSERT ON ledger BEGIN
    UPDATE ledger_totals SET {_ADD_NEW};
END;

CREATE TRIGGER ledger_moved AFTER UPDATE OF state ON ledger WHEN old.state <> new.state BEGIN
    UPDATE ledger_totals SET {_MOVE};
END;

CREATE TRIGGER ledger_out AFTER DELETE ON ledger BEGIN
    UPDATE ledger_totals SET {_TAKE_OLD};
END;

CREATE TRIGGER ledger_delivery_moved AFTER UPDATE OF state ON deliveries
    WHEN old.state <> new.state AND old.lane NOT IN {_IGNORED} BEGIN
    UPDATE ledger SET state = CASE WHEN {_LEFT_QUEUED} THEN {QUEUED} ELSE {DEAD} END,
                      reason = CASE WHEN new.state = 'dead' THEN substr(new.reason, 1, {REASON_CHARACTERS}) ELSE '' END,
                      changed_at = {_NOW}
        WHERE eid = old.eid;
END;

CREATE TRIGGER ledger_delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE ledger SET state = CASE WHEN {_LEFT_QUEUED} THEN {QUEUED} WHEN {_LEFT} THEN {DEAD}
                                   WHEN deleted > 0 OR old.state = 'dead' THEN {REMOVED} ELSE {RELEASED} END,
                      deleted = deleted + (old.state = 'dead'),
                      changed_at = {_NOW}
        WHERE eid = old.eid AND old.lane NOT IN {_IGNORED};
    UPDATE ledger SET eid = NULL WHERE eid = old.eid AND NOT {_IN_SPOOL};
END"""  # noqa: S608 - constants

_REST = "substr({0}, 8)"
SITE = (
    f"CASE WHEN substr({{0}}, 1, 7) = '/eaves/' AND instr({_REST}, '/') > 0"
    f" THEN substr({{0}}, 8, instr({_REST}, '/') - 1) ELSE '' END"
)
"""SQL for the site of a source, as `site_of` computes it."""
_SITE_TABLES = f"""\
CREATE TABLE ledger_sites(
    site TEXT PRIMARY KEY,
    lines INTEGER NOT NULL
);

CREATE INDEX ledger_by_site ON ledger({SITE.format("source")});

CREATE INDEX ledger_settled ON ledger({SITE.format("source")}) WHERE eid IS NULL;

INSERT INTO ledger_sites SELECT {SITE.format("source")}, count(*) FROM ledger GROUP BY 1;

CREATE TRIGGER ledger_site_in AFTER INSERT ON ledger BEGIN
    INSERT INTO ledger_sites VALUES({SITE.format("new.source")}, 1) ON CONFLICT(site) DO UPDATE SET lines = lines + 1;
END;

CREATE TRIGGER ledger_site_out AFTER DELETE ON ledger BEGIN
    UPDATE ledger_sites SET lines = lines - 1 WHERE site = {SITE.format("old.source")};
END"""  # noqa: S608 - constants


def exists(db: sqlite3.Connection) -> bool:
    """Return whether a spool has a ledger."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger'").fetchone()
    return found is not None


def ensure(db: sqlite3.Connection, ignored_lanes: Collection[str] | None = None) -> None:
    """Create the ledger of a spool that has none, and the line of each event that has none, in one commit.

    An earlier release, which knows no ledger, may have put events without a line into the spool.

    Args:
        db: Connection to the spool.
        ignored_lanes: Lanes whose entries don't count for the state of lines; None leaves the stored list unchanged.
    """
    is_there = exists(db)
    is_set = is_there and _counts_sites(db) and (ignored_lanes is None or _read_ignored(db) == set(ignored_lanes))
    if is_set and not _is_line_missing(db):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not is_there:
            make(db)
        elif not _counts_sites(db):
            _make_all(db, _SITE_TABLES)
        if ignored_lanes is not None:
            ignore(db, ignored_lanes)
        add_missing(db)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def make(db: sqlite3.Connection) -> None:
    """Create the ledger's tables and triggers, within the caller's transaction."""
    _make_all(db, _TABLES)
    _make_all(db, _SITE_TABLES)


def site_of(source: str) -> str:
    """Return the site in a source of the form `/eaves/SITE/NAME`; empty for another source."""
    parts = source.split("/", 3)
    return parts[2] if len(parts) == 4 and parts[:2] == ["", "eaves"] else ""


def ignore(db: sqlite3.Connection, lanes: Collection[str]) -> None:
    """Set the lanes whose entries don't count for the state of ledger lines, within the caller's transaction."""
    db.execute("DELETE FROM ledger_ignored")
    db.executemany("INSERT INTO ledger_ignored VALUES(?)", [(lane,) for lane in sorted(set(lanes))])


def add_missing(db: sqlite3.Connection, choose: Callable[[int], int | None] = lambda eid: None) -> None:
    """Add a line for each event of the spool that has none, within the caller's transaction.

    Args:
        db: Connection to the spool.
        choose: Function that returns the line number for an event's row id; None assigns the next number.
    """
    last = 0
    while eids := _find_without_line(db, PIECE, after=last):
        for eid in eids:
            _add_line(db, eid, choose)
        last = eids[-1]
    follow_deliveries(db)


def _add_line(db: sqlite3.Connection, eid: int, choose: Callable[[int], int | None]) -> None:
    source, event_id, put_at = db.execute("SELECT source, id, put_at FROM events WHERE eid = ?", (eid,)).fetchone()
    line = _find_line(db, eid)
    if line is None:
        number, digest = choose(eid), _read_digest(db, eid)
        key = line_key(source, event_id)
        insert(db, source=source, event_id=event_id, key=key, digest=digest, taken_at=put_at, eid=eid, number=number)
    elif _has_left(db, line, eid):
        db.execute("UPDATE ledger SET eid = ? WHERE number = ?", (eid, line[0]))


def _find_line(db: sqlite3.Connection, eid: int) -> Any:
    """Return the number, event row id and digest of the ledger line with the source and id of an event in the spool.

    The line may belong to another event with the same source and id.
    """
    source, event_id = db.execute("SELECT source, id FROM events WHERE eid = ?", (eid,)).fetchone()
    find = "SELECT number, eid, digest FROM ledger WHERE key = ? AND source = ? AND id = ?"
    return db.execute(find, (line_key(source, event_id), source, event_id)).fetchone()


def _has_left(db: sqlite3.Connection, line: Any, eid: int) -> bool:
    """Return whether a ledger line belongs to an event that had left the spool and was put into it again."""
    return line[1] is None and bytes(line[2]) == _read_digest(db, eid)


def _read_digest(db: sqlite3.Connection, eid: int) -> bytes:
    return _stored_digest(*db.execute("SELECT attributes, data FROM events WHERE eid = ?", (eid,)).fetchone())


def _is_line_missing(db: sqlite3.Connection) -> bool:
    """Return whether the ledger has no line for some event that must have one.

    A dead letter with the source and id of another event never gets one.
    """
    last = 0
    while eids := _find_without_line(db, PIECE, after=last):
        for eid in eids:
            line = _find_line(db, eid)
            if line is None or _has_left(db, line, eid):
                return True
        last = eids[-1]
    return False


def _read_ignored(db: sqlite3.Connection) -> set[str]:
    return {lane for (lane,) in db.execute("SELECT lane FROM ledger_ignored")}


def _find_without_line(db: sqlite3.Connection, limit: int, *, after: int = 0) -> list[int]:
    """Return the row ids of events that have no line; events that are only in ignored lanes need none.

    The query reads two indexes and no event.
    """
    sql = (
        "SELECT eid FROM (SELECT DISTINCT eid FROM deliveries INDEXED BY by_event) d"  # noqa: S608 - constants
        " WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE eid = d.eid) AND EXISTS (SELECT 1 FROM events WHERE eid = d.eid)"
        f" AND eid > ? AND EXISTS ({_ANY} = d.eid) ORDER BY eid LIMIT ?"
    )
    return [eid for (eid,) in db.execute(sql, (after, limit))]


def follow_deliveries(db: sqlite3.Connection) -> None:
    """Set the state of each line with an event in the spool from its entries; set lines of lost events to `LOST`."""
    db.execute(
        f"UPDATE ledger SET state = {DEAD}, reason = (SELECT substr(reason, 1, {REASON_CHARACTERS}) FROM deliveries"  # noqa: S608 - constants
        f" WHERE eid = ledger.eid AND state = 'dead' AND lane NOT IN {_IGNORED} LIMIT 1)"
        f" WHERE eid IS NOT NULL AND state <> {DEAD} AND EXISTS ({_ANY} = ledger.eid AND state = 'dead')"
        f" AND NOT EXISTS ({_ANY} = ledger.eid AND state = 'queued')"
    )
    db.execute(
        f"UPDATE ledger SET state = {QUEUED}, reason = '' WHERE eid IS NOT NULL AND state <> {QUEUED}"  # noqa: S608 - constants
        f" AND EXISTS ({_ANY} = ledger.eid AND state = 'queued')"
    )
    db.execute(
        f"UPDATE ledger SET state = {LOST}, reason = 'the event was on a damaged page'"  # noqa: S608 - constants
        f" WHERE eid IS NOT NULL AND state IN ({QUEUED}, {DEAD})"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid)"
    )
    db.execute(
        "UPDATE ledger SET eid = NULL"
        " WHERE eid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid)"
    )


def insert(
    db: sqlite3.Connection,
    *,
    source: str,
    event_id: str,
    key: int,
    digest: bytes,
    taken_at: float,
    eid: int,
    number: int | None = None,
) -> None:
    """Add a line for a queued event; without `number`, the line gets the next number."""
    sql = (
        "INSERT INTO ledger(number, key, digest, source, id, taken_at, changed_at, eid) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
    )
    db.execute(sql, (number, key, digest, source, event_id, taken_at, taken_at, eid))


def insert_lost(db: sqlite3.Connection, number: int) -> None:
    """Add a line in place of one that can't be read, with the time of the line before it."""
    event_id = f"line-{number}"
    db.execute(
        "INSERT INTO ledger(number, key, digest, source, id, taken_at, state, changed_at, reason)"  # noqa: S608 - constants
        " VALUES(?1, ?2, x'', ?3, ?4, coalesce((SELECT taken_at FROM ledger WHERE number < ?1 ORDER BY number DESC"
        " LIMIT 1), (SELECT taken_at FROM ledger WHERE number > ?1 ORDER BY number LIMIT 1), 0.0),"
        f" {LOST}, {_NOW}, 'the line was on a damaged page')",
        (number, line_key(LOST_SOURCE, event_id), LOST_SOURCE, event_id),
    )


def set_last(db: sqlite3.Connection, number: int) -> None:
    """Set the highest line number so far, so that the next line gets a number above `number`."""
    db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'ledger'", (number,))
    if not db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'ledger'").fetchone():
        db.execute("INSERT INTO sqlite_sequence VALUES('ledger', ?)", (number,))


def _counts_sites(db: sqlite3.Connection) -> bool:
    """Return whether a ledger has the tables that count lines by site, which older ledgers don't have."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger_sites'").fetchone()
    return found is not None


def _make_all(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n\n"):
        db.execute(statement)


def _stored_digest(attributes: str, data: bytes) -> bytes:
    """Return the digest of a stored event; an empty digest, which equals no other, when its row is damaged."""
    try:
        return content_digest(json.loads(attributes), data)
    except (ValueError, TypeError, AttributeError):
        return b""
