"""Tables of a spool file, and the check that a file is a spool."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from eaves.errors import SpoolError
from eaves.spool import image_choice, outcomes, score_shift

VERSION = 4
APPLICATION_ID = 0x45617665  # "Eave"

QUEUED, DEAD = "queued", "dead"
FREED = 1.0
"""Due time, in Unix seconds, that marks a failed entry which an operator has made due now."""

_TABLES = """\
CREATE TABLE events(
    eid INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    attributes TEXT NOT NULL,  -- JSON, all of them
    size_bytes INTEGER NOT NULL,  -- data and attributes
    put_at REAL NOT NULL,  -- Unix seconds, as all times here
    data BLOB NOT NULL,
    crc INTEGER  -- of attributes and data
);

CREATE TABLE deliveries(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    lane TEXT NOT NULL,
    eid INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',  -- or 'dead'
    attempts INTEGER NOT NULL DEFAULT 0,  -- failed ones
    not_before REAL NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 0,  -- HTTP, of a dead letter
    reason TEXT NOT NULL DEFAULT '',  -- of the last failure
    died_at REAL NOT NULL DEFAULT 0
);

CREATE INDEX by_event ON deliveries(eid);

CREATE INDEX by_due ON deliveries(lane, state, not_before, seq);

CREATE INDEX dead_by_age ON deliveries(died_at, seq) WHERE state = 'dead';

-- What was captured: the first 16 bytes of the SHA-256 of source, NUL and id; and the source's CRC. The options are
-- empty for an event that was put, else the digest of the options that left the image out.
CREATE TABLE seen(
    key BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    source INTEGER NOT NULL,
    options BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX seen_by_age ON seen(at);

-- Counters, kept by triggers: every writer keeps them, in its own transaction. An event's bytes count as queued while
-- any delivery of it is, and against the dead letters' budget after that. The one row of `usage` is named in each
-- statement, because SQLite updates a row that it needn't search for in half the time.
CREATE TABLE usage(
    queued_bytes INTEGER NOT NULL,
    dead_bytes INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    expired INTEGER NOT NULL  -- dead letters that were deleted to keep their budget
);

CREATE TABLE lanes(
    lane TEXT PRIMARY KEY,
    queued INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    queued_bytes INTEGER NOT NULL,
    dead_bytes INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO usage VALUES(0, 0, 0, 0);

CREATE TRIGGER seen_in AFTER INSERT ON seen BEGIN
    UPDATE usage SET seen = seen + 1 WHERE rowid = 1;
END;

CREATE TRIGGER seen_out AFTER DELETE ON seen BEGIN
    UPDATE usage SET seen = seen - 1 WHERE rowid = 1;
END;

CREATE TRIGGER delivery_in AFTER INSERT ON deliveries BEGIN
    INSERT INTO lanes
        SELECT new.lane, 1, 0, size_bytes, 0 FROM events WHERE eid = new.eid
        ON CONFLICT(lane) DO UPDATE SET queued = queued + 1, queued_bytes = queued_bytes + excluded.queued_bytes;
    UPDATE usage SET queued_bytes = queued_bytes + (SELECT size_bytes FROM events WHERE eid = new.eid)
        WHERE rowid = 1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = new.eid AND seq <> new.seq);
END;

CREATE TRIGGER delivery_died AFTER UPDATE OF state ON deliveries WHEN old.state = 'queued' AND new.state = 'dead' BEGIN
    UPDATE lanes SET queued = queued - 1, dead = dead + 1,
                     queued_bytes = queued_bytes - (SELECT size_bytes FROM events WHERE eid = new.eid),
                     dead_bytes = dead_bytes + (SELECT size_bytes FROM events WHERE eid = new.eid)
        WHERE lane = new.lane;
    UPDATE usage SET queued_bytes = queued_bytes - (SELECT size_bytes FROM events WHERE eid = new.eid),
                     dead_bytes = dead_bytes + (SELECT size_bytes FROM events WHERE eid = new.eid)
        WHERE rowid = 1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = new.eid AND state = 'queued');
END;

CREATE TRIGGER delivery_back AFTER UPDATE OF state ON deliveries WHEN old.state = 'dead' AND new.state = 'queued' BEGIN
    UPDATE lanes SET queued = queued + 1, dead = dead - 1,
                     queued_bytes = queued_bytes + (SELECT size_bytes FROM events WHERE eid = new.eid),
                     dead_bytes = dead_bytes - (SELECT size_bytes FROM events WHERE eid = new.eid)
        WHERE lane = new.lane;
    UPDATE usage SET queued_bytes = queued_bytes + (SELECT size_bytes FROM events WHERE eid = new.eid),
                     dead_bytes = dead_bytes - (SELECT size_bytes FROM events WHERE eid = new.eid)
        WHERE rowid = 1
          AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = new.eid AND state = 'queued' AND seq <> new.seq);
END;

CREATE TRIGGER delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE lanes SET queued = queued - (old.state = 'queued'), dead = dead - (old.state = 'dead'),
                     queued_bytes = queued_bytes
                         - (old.state = 'queued') * (SELECT size_bytes FROM events WHERE eid = old.eid),
                     dead_bytes = dead_bytes
                         - (old.state = 'dead') * (SELECT size_bytes FROM events WHERE eid = old.eid)
        WHERE lane = old.lane;
    DELETE FROM lanes WHERE lane = old.lane AND queued = 0 AND dead = 0;
    UPDATE usage SET queued_bytes = queued_bytes
                         - (old.state = 'queued') * (SELECT size_bytes FROM events WHERE eid = old.eid),
                     dead_bytes = dead_bytes
                         - (old.state = 'dead') * (SELECT size_bytes FROM events WHERE eid = old.eid)
        WHERE rowid = 1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid);
    UPDATE usage SET queued_bytes = queued_bytes - (SELECT size_bytes FROM events WHERE eid = old.eid),
                     dead_bytes = dead_bytes + (SELECT size_bytes FROM events WHERE eid = old.eid)
        WHERE rowid = 1
          AND old.state = 'queued'
          AND EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid)
          AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid AND state = 'queued');
    DELETE FROM events WHERE eid = old.eid AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid);
END"""


def ensure(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new file, or check that the file has the current version.

    Raises:
        SpoolError: When the file is another program's or another version's; it is left unchanged.
    """
    db.execute("BEGIN IMMEDIATE")
    found = (_pragma(db, "application_id"), _pragma(db, "user_version"))
    if found == (0, 0) and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        run(db, _TABLES)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    elif found != (APPLICATION_ID, VERSION):
        what = f"has schema version {found[1]}" if found[0] == APPLICATION_ID else "belongs to another program"
        raise SpoolError(
            f"{path} {what}; this version of Eaves reads spools of schema version {VERSION}",
            hint="deliver its events with the version that wrote it, or use another file",
        )
    run(db, outcomes.TABLES)
    run(db, score_shift.TABLE)
    run(db, image_choice.TABLES)
    db.execute("COMMIT")


def seen_key(source: str, event_id: str) -> bytes:
    """Return the key of an event in the table of remembered ids: 16 bytes."""
    return hashlib.sha256(f"{source}\0{event_id}".encode(errors="surrogatepass")).digest()[:16]


def run(db: sqlite3.Connection, statements: str) -> None:
    """Execute statements that are separated by blank lines, within the caller's transaction."""
    for statement in statements.split(";\n\n"):
        db.execute(statement)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
