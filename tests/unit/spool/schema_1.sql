-- The tables of a spool of schema version 1, as the commit 309bf8e made them.
CREATE TABLE events(
    eid INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    attributes TEXT NOT NULL,  -- JSON, all of them
    size_bytes INTEGER NOT NULL,  -- data and attributes
    put_at REAL NOT NULL,  -- Unix seconds, as all times here
    data BLOB NOT NULL
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

CREATE INDEX by_lane ON deliveries(lane, state, seq, not_before);

CREATE INDEX by_event ON deliveries(eid);

CREATE TABLE seen(source TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY(source, id)) WITHOUT ROWID;

-- Counters, kept by triggers: every writer keeps them, in its own transaction.
CREATE TABLE usage(size_bytes INTEGER NOT NULL);

INSERT INTO usage VALUES(0);

CREATE TABLE lanes(lane TEXT PRIMARY KEY, queued INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID;

CREATE TRIGGER event_in AFTER INSERT ON events BEGIN
    UPDATE usage SET size_bytes = size_bytes + new.size_bytes;
END;

CREATE TRIGGER event_out AFTER DELETE ON events BEGIN
    UPDATE usage SET size_bytes = size_bytes - old.size_bytes;
END;

CREATE TRIGGER delivery_in AFTER INSERT ON deliveries BEGIN
    INSERT INTO lanes VALUES(new.lane, 1, 0) ON CONFLICT(lane) DO UPDATE SET queued = queued + 1;
END;

CREATE TRIGGER delivery_moved AFTER UPDATE OF state ON deliveries BEGIN
    UPDATE lanes SET queued = queued + (new.state = 'queued') - (old.state = 'queued'),
                     dead = dead + (new.state = 'dead') - (old.state = 'dead') WHERE lane = new.lane;
END;

CREATE TRIGGER delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE lanes SET queued = queued - (old.state = 'queued'), dead = dead - (old.state = 'dead') WHERE lane = old.lane;
    DELETE FROM events WHERE eid = old.eid AND NOT EXISTS (SELECT 1 FROM deliveries WHERE eid = old.eid);
END;

PRAGMA application_id = 1164015205;
PRAGMA user_version = 1;
