"""SQL tables and triggers of the ledger, which only a spool that was opened with a ledger has."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

from eaves.events import REPLY_TYPES
from eaves.spool.entry import render_attributes
from eaves.spool.schema import run

if TYPE_CHECKING:
    from eaves.spool.ledger import LedgerLimits

LineState = Literal["queued", "released", "dead", "removed"]
STATES: tuple[LineState, ...] = ("queued", "released", "dead", "removed")
"""States of a ledger line; the table stores each state as its position in this list."""
DIGEST_BYTES = 8
"""Number of bytes of SHA-256 that a line keeps of an event's content. They tell a repetition from another event that
has the same id by mistake; a sender that may use a source can forge its events anyway.
"""
REASON_CHARACTERS = 160
"""Maximum number of characters of a reason that a line keeps."""
NO_LIMIT = 1 << 62
TRIM = 1_000
"""Maximum number of old lines that are deleted when one new line is added, for example after the limit was lowered."""
_ADDED_ON_THE_WAY = ("traceparent", "tracestate", "knative")
"""Prefixes of the names of attributes that a broker or a tracer adds."""
QUEUED, RELEASED, DEAD, REMOVED = range(len(STATES))

_NOW = "(julianday('now') - 2440587.5) * 86400.0"
"""SQL for Unix seconds with milliseconds. Source: sqlite.org/lang_datefunc.html; `unixepoch('subsec')` needs SQLite
3.42.
"""
_IGNORED = "(SELECT lane FROM ledger_ignored)"
_ANY = f"SELECT 1 FROM deliveries WHERE lane NOT IN {_IGNORED} AND eid"  # noqa: S608 - constants
_LEFT = f"EXISTS ({_ANY} = old.eid)"
_LEFT_QUEUED = f"EXISTS ({_ANY} = old.eid AND state = 'queued')"
_IN_SPOOL = "EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid)"
_REST = "substr({0}, 8)"
SITE = (
    f"CASE WHEN substr({{0}}, 1, 7) = '/eaves/' AND instr({_REST}, '/') > 0"
    f" THEN substr({{0}}, 8, instr({_REST}, '/') - 1) ELSE '' END"
)
"""SQL for the site in a source of the form `/eaves/SITE/NAME`; empty for another source."""

TABLES = f"""\
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
    lines INTEGER NOT NULL DEFAULT 0,
    repeats INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    max_lines INTEGER NOT NULL DEFAULT {NO_LIMIT}
);

INSERT INTO ledger_totals DEFAULT VALUES;

CREATE TRIGGER ledger_in AFTER INSERT ON ledger BEGIN
    UPDATE ledger_totals SET lines = lines + 1 WHERE rowid = 1;
END;

CREATE TRIGGER ledger_full AFTER UPDATE OF lines ON ledger_totals WHEN new.lines > new.max_lines BEGIN
    DELETE FROM ledger WHERE number IN (
        SELECT number FROM ledger WHERE eid IS NULL ORDER BY number
        LIMIT min(max(new.lines - new.max_lines, new.max_lines / 1000), {TRIM})
    );
END;

CREATE TRIGGER ledger_out AFTER DELETE ON ledger BEGIN
    UPDATE ledger_totals SET lines = lines - 1, deleted = deleted + 1 WHERE rowid = 1;
END;

CREATE TRIGGER ledger_delivery_moved AFTER UPDATE OF state ON deliveries
    WHEN old.state <> new.state AND old.lane NOT IN {_IGNORED} BEGIN
    UPDATE ledger SET state = CASE WHEN {_LEFT_QUEUED} THEN {QUEUED} ELSE {DEAD} END,
                      reason = CASE WHEN new.state = 'dead' THEN substr(new.reason, 1, {REASON_CHARACTERS}) ELSE '' END,
                      changed_at = {_NOW}
        WHERE eid = old.eid;
END;

CREATE TRIGGER ledger_delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE ledger SET state = CASE WHEN old.lane IN {_IGNORED} THEN state
                                   WHEN {_LEFT_QUEUED} THEN {QUEUED} WHEN {_LEFT} THEN {DEAD}
                                   WHEN deleted > 0 OR old.state = 'dead' THEN {REMOVED} ELSE {RELEASED} END,
                      deleted = deleted + (old.state = 'dead' AND old.lane NOT IN {_IGNORED}),
                      changed_at = CASE WHEN old.lane IN {_IGNORED} THEN changed_at ELSE {_NOW} END,
                      eid = CASE WHEN {_IN_SPOOL} THEN eid END
        WHERE eid = old.eid;
END;

CREATE INDEX ledger_by_site ON ledger({SITE.format("source")})"""  # noqa: S608 - constants
"""Statements that create the tables and triggers."""
_FOLLOW = f"""\
INSERT INTO ledger(key, digest, source, id, taken_at, changed_at, eid)
    SELECT line_key(source, id), stored_digest(attributes, data), source, id, put_at, put_at, eid FROM events
    WHERE eid IN (SELECT min(eid) FROM events WHERE EXISTS ({_ANY} = events.eid) GROUP BY source, id)
        AND NOT EXISTS (
            SELECT 1 FROM ledger WHERE key = line_key(events.source, events.id)
                AND ledger.source = events.source AND ledger.id = events.id
        )
    ORDER BY eid;

UPDATE ledger SET state = {DEAD}, reason = (
        SELECT substr(reason, 1, {REASON_CHARACTERS}) FROM deliveries
        WHERE eid = ledger.eid AND state = 'dead' AND lane NOT IN {_IGNORED} LIMIT 1
    )
    WHERE eid IS NOT NULL AND state <> {DEAD} AND EXISTS ({_ANY} = ledger.eid AND state = 'dead')
        AND NOT EXISTS ({_ANY} = ledger.eid AND state = 'queued');

UPDATE ledger SET state = {QUEUED}, reason = ''
    WHERE eid IS NOT NULL AND state <> {QUEUED} AND EXISTS ({_ANY} = ledger.eid AND state = 'queued')"""  # noqa: S608 - constants
"""Statements that add a line for each event without one (events that are only in ignored lanes need none), and set the
state of each line with an event in the spool from its entries.
"""


def exists(db: sqlite3.Connection) -> bool:
    """Return whether a spool has a ledger."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger'").fetchone()
    return found is not None


def ensure(db: sqlite3.Connection, limits: LedgerLimits | None = None) -> None:
    """Create the ledger of a spool that has none, with a line for each event, in one commit.

    Args:
        db: Connection to the spool.
        limits: Limits that are stored in the file, for all who write it; None leaves those in it unchanged.
    """
    is_there = exists(db)
    if is_there and (limits is None or _has_limits(db, limits)):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not is_there:
            run(db, TABLES)
        if limits is not None:
            ignore(db, limits.ignored_lanes)
            db.execute("UPDATE ledger_totals SET max_lines = ?", (limits.max_entries,))
        follow_entries(db)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _has_limits(db: sqlite3.Connection, limits: LedgerLimits) -> bool:
    (most,) = db.execute("SELECT max_lines FROM ledger_totals").fetchone()
    return bool(most == limits.max_entries) and read_ignored(db) == set(limits.ignored_lanes)


def read_ignored(db: sqlite3.Connection) -> set[str]:
    """Return the lanes whose entries don't count for the state of ledger lines."""
    return {lane for (lane,) in db.execute("SELECT lane FROM ledger_ignored") if isinstance(lane, str)}


def ignore(db: sqlite3.Connection, lanes: Collection[str]) -> None:
    """Set the lanes whose entries don't count for the state of ledger lines, within the caller's transaction."""
    db.execute("DELETE FROM ledger_ignored")
    db.executemany("INSERT INTO ledger_ignored VALUES(?)", [(lane,) for lane in sorted(set(lanes))])


def follow_entries(db: sqlite3.Connection) -> None:
    """Add missing lines, and set the states of lines from the entries, within the caller's transaction."""
    db.create_function("line_key", 2, line_key, deterministic=True)
    db.create_function("stored_digest", 2, _stored_digest, deterministic=True)
    run(db, _FOLLOW)


def content_digest(attributes: Mapping[str, str], data: bytes) -> bytes:
    """Return the digest of an event's content, which is the same on whatever path the event arrives.

    Attributes that a broker or a tracer adds don't count, because they may differ at a second delivery. For replies of
    functions only source, id and type count: the id is made from the image's id and the artifact, so a second
    prediction of an image gives the same reply, although its timings differ.
    """
    if attributes.get("type") in REPLY_TYPES:
        own, data = {name: attributes.get(name, "") for name in ("id", "source", "type")}, b""
    else:
        names = sorted(attributes)
        own = {name: attributes[name] for name in names if not name.startswith(_ADDED_ON_THE_WAY)}
    head = render_attributes(own).encode()
    return hashlib.sha256(len(head).to_bytes(8, "big") + head + data).digest()[:DIGEST_BYTES]


def line_key(source: str, event_id: str) -> int:
    """Return the key of a line in the index: 64 bits of SHA-256 of source, NUL and id, signed."""
    digest = hashlib.sha256(f"{source}\0{event_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _stored_digest(attributes: str, data: bytes) -> bytes:
    """Return the digest of a stored event; an empty digest, which equals no other, when its row is damaged."""
    try:
        return content_digest(json.loads(attributes), data)
    except (ValueError, TypeError, AttributeError):
        return b""
