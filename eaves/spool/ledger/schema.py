"""The ledger's tables and triggers, which a spool has only when one was asked for."""

from __future__ import annotations

import json
import sqlite3

from eaves.spool.ledger.line import REASON_CHARACTERS, STATES, content_digest, line_key

QUEUED, RELEASED, DEAD, REMOVED, LOST = range(len(STATES))
PIECE = 200
"""Events that are looked at at a time."""

_NOW = "(julianday('now') - 2440587.5) * 86400.0"
"""Unix seconds with milliseconds. Source: sqlite.org/lang_datefunc.html; `unixepoch('subsec')` is only in 3.42."""
_LEFT = "EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid)"
_LEFT_QUEUED = "EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid AND state = 'queued')"
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

CREATE TRIGGER ledger_delivery_moved AFTER UPDATE OF state ON deliveries WHEN old.state <> new.state BEGIN
    UPDATE ledger SET state = CASE WHEN {_LEFT_QUEUED} THEN {QUEUED} ELSE {DEAD} END,
                      reason = CASE WHEN new.state = 'dead' THEN substr(new.reason, 1, {REASON_CHARACTERS}) ELSE '' END,
                      changed_at = {_NOW}
        WHERE eid = old.eid;
END;

CREATE TRIGGER ledger_delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE ledger SET state = CASE WHEN {_LEFT_QUEUED} THEN {QUEUED} WHEN {_LEFT} THEN {DEAD}
                                   WHEN deleted > 0 OR old.state = 'dead' THEN {REMOVED} ELSE {RELEASED} END,
                      deleted = deleted + (old.state = 'dead'),
                      changed_at = {_NOW},
                      eid = CASE WHEN {_LEFT} THEN eid END
        WHERE eid = old.eid;
END"""  # noqa: S608 - constants

_REST = "substr({0}, 8)"
SITE = (
    f"CASE WHEN substr({{0}}, 1, 7) = '/eaves/' AND instr({_REST}, '/') > 0"
    f" THEN substr({{0}}, 8, instr({_REST}, '/') - 1) ELSE '' END"
)
"""The site of a source, as `site_of` gives it."""
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
    """Whether a spool has a ledger."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger'").fetchone()
    return found is not None


def ensure(db: sqlite3.Connection) -> None:
    """Make the ledger of a spool that has none, with a line for each event that is in it, in one commit."""
    if exists(db) and _counts_sites(db):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if exists(db):
            _make_all(db, _SITE_TABLES)
        else:
            make(db)
            add_missing(db)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def make(db: sqlite3.Connection) -> None:
    """Make the tables and triggers, within the caller's transaction."""
    _make_all(db, _TABLES)
    _make_all(db, _SITE_TABLES)


def site_of(source: str) -> str:
    """The site of `/eaves/SITE/NAME`; empty for another source."""
    parts = source.split("/", 3)
    return parts[2] if len(parts) == 4 and parts[:2] == ["", "eaves"] else ""


def add_missing(db: sqlite3.Connection) -> None:
    """Add a line for each event of the spool that has none, within the caller's transaction."""
    sql = "SELECT eid, source, id, attributes, data, put_at FROM events WHERE eid > ? ORDER BY eid LIMIT ?"
    last = 0
    while rows := db.execute(sql, (last, PIECE)).fetchall():
        for eid, source, event_id, attributes, data, put_at in rows:
            if not _has_line(db, eid, source, event_id):
                digest = _stored_digest(attributes, data)
                insert(db, source=source, event_id=event_id, digest=digest, taken_at=put_at, eid=eid)
        last = rows[-1][0]
    follow_deliveries(db)


def _has_line(db: sqlite3.Connection, eid: int, source: str, event_id: str) -> bool:
    """Whether a stored event has a line. A dead letter that was put under a known id has that of the other event."""
    sql = "SELECT 1 FROM ledger WHERE eid = ? UNION ALL SELECT 1 FROM ledger WHERE key = ? AND source = ? AND id = ?"
    return db.execute(sql, (eid, line_key(source, event_id), source, event_id)).fetchone() is not None


def follow_deliveries(db: sqlite3.Connection) -> None:
    """Set the state of the lines whose events are in the spool to what its entries say, and of those lost to `LOST`."""
    db.execute(
        f"UPDATE ledger SET state = {DEAD}, reason = (SELECT substr(reason, 1, {REASON_CHARACTERS}) FROM deliveries"  # noqa: S608 - constants
        " WHERE eid = ledger.eid AND state = 'dead' LIMIT 1)"
        f" WHERE eid IS NOT NULL AND state <> {DEAD}"
        " AND EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid AND state = 'dead')"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid AND state = 'queued')"
    )
    db.execute(
        f"UPDATE ledger SET state = {QUEUED}, reason = '' WHERE eid IS NOT NULL AND state <> {QUEUED}"  # noqa: S608 - constants
        " AND EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid AND state = 'queued')"
    )
    db.execute(
        f"UPDATE ledger SET state = {LOST}, reason = 'the event was on a damaged page', eid = NULL"  # noqa: S608 - constants
        " WHERE eid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = ledger.eid)"
    )


def insert(
    db: sqlite3.Connection, *, source: str, event_id: str, digest: bytes, taken_at: float, eid: int | None
) -> None:
    """Add a line for an event that is queued."""
    sql = "INSERT INTO ledger(key, digest, source, id, taken_at, changed_at, eid) VALUES(?, ?, ?, ?, ?, ?, ?)"
    db.execute(sql, (line_key(source, event_id), digest, source, event_id, taken_at, taken_at, eid))


def _counts_sites(db: sqlite3.Connection) -> bool:
    """Whether a ledger has the tables by site; one that was made before they were has not."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger_sites'").fetchone()
    return found is not None


def _make_all(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n\n"):
        db.execute(statement)


def _stored_digest(attributes: str, data: bytes) -> bytes:
    """The digest of a stored event; an empty one, which equals none, when its row is damaged."""
    try:
        return content_digest(json.loads(attributes), data)
    except (ValueError, TypeError, AttributeError):
        return b""
