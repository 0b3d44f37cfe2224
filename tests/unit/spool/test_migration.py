"""A spool of an earlier version is brought up to date where it lies, with all that it holds."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Selection, Spool
from eaves.spool.admin import list_entries
from eaves.spool.entry import to_row

SCHEMA_1 = Path(__file__).with_name("schema_1.sql")


def image(number: int) -> Event:
    return Event(id=f"id-{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * (100 * number))


def write_version_1(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA_1.read_text())
    for number in (1, 2, 3):
        row = to_row(image(number))
        eid = db.execute(
            "INSERT INTO events(source, id, attributes, data, size_bytes, put_at) VALUES(?, ?, ?, ?, ?, ?)",
            (*row[:4], row[5], 1000.0 + number),
        ).lastrowid
        lanes = ("a", "b") if number == 1 else ("a",)
        db.executemany("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", [(lane, eid) for lane in lanes])
        db.execute("INSERT INTO seen VALUES(?, ?, ?)", (row[0], row[1], 1000.0))
    db.execute("UPDATE deliveries SET state = 'dead', reason = 'answered 422', status = 422, died_at = 5 WHERE seq = 3")
    db.execute("UPDATE deliveries SET attempts = 4, not_before = 7 WHERE seq = 4")
    db.close()


def test_version_1_is_carried_on_with_everything_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    write_version_1(path)
    sizes = [len(json.dumps(image(number).attributes())) + 100 * number for number in (1, 2, 3)]
    with Spool(path) as spool:
        assert [entry.event for entry in spool.peek("a", limit=9, now=10)] == [image(1), image(3)]
        assert [entry.event for entry in spool.peek("b", limit=9, now=10)] == [image(1)]
        [letter] = spool.dead()
        assert (letter.entry.event, letter.reason, letter.status, letter.died_at) == (image(2), "answered 422", 422, 5)
        assert (spool.size_bytes(), spool.dead_bytes()) == (sizes[0] + sizes[2], sizes[1])
        assert [(lane.lane, lane.queued, lane.dead, lane.oldest_at) for lane in spool.lanes()] == [
            ("a", 2, 1, 1001.0),
            ("b", 1, 0, 1001.0),
        ]
        assert [stored.attempts for stored in list_entries(spool, Selection(seqs=(4,)))] == [4]
        assert spool.remembered() == 3
        assert not spool.put(image(2), once=True), "what was put once before is still known"
        assert spool.put(image(4), lanes=("a",))
    with Spool(path) as spool:
        assert spool.counts() == {"a": (3, 1), "b": (1, 0)}
