"""Events and entries of the tests of the durable queue."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry

NOW = 1_000_000.0


def image(number: int = 0, size_bytes: int = 10) -> Event:
    return Event(id=f"id-{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"x" * size_bytes)


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event.id for entry in entries]


def rows(path: Path, table: str) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        db.close()
