"""Many events in one commit: put together, looked at as a batch, released together."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import Entry, PutOutcome, Spool
from tests.unit.spool.entries import NOW, ids, image

STORED, REPEATED = PutOutcome.STORED, PutOutcome.REPEATED


def images(count: int) -> list[tuple[Event, tuple[str, ...]]]:
    return [(image(number), ("out",)) for number in range(count)]


def batch(spool: Spool, *, max_events: int = 100, max_bytes: int = 1 << 20, newest: bool = False) -> list[Entry]:
    return spool.peek("out", limit=max_events, max_bytes=max_bytes, newest_first=newest)


def test_many_share_one_commit(tmp_path: Path):
    commits = []

    class Counted(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            if sql == "COMMIT":
                commits.append(sql)
            return super().execute(sql, parameters)  # type: ignore[arg-type]

    def open_counted(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Counted)

    with Spool(tmp_path / "spool.db", connect=open_counted) as spool:
        commits.clear()
        spool.put_many(images(50))
        spool.ack_many(batch(spool))
        assert len(commits) == 2
        assert spool.depth() == 0


def test_a_batch_holds_what_fits_and_keeps_the_order(spool: Spool):
    spool.put_many(images(10))
    assert ids(batch(spool, max_events=4)) == ["id-0", "id-1", "id-2", "id-3"]
    one = spool.size_bytes() // 10
    assert ids(batch(spool, max_bytes=3 * one)) == ["id-0", "id-1", "id-2"]
    assert ids(batch(spool, max_bytes=3 * one - 1)) == ["id-0", "id-1"]


def test_an_entry_larger_than_a_batch_comes_alone(spool: Spool):
    spool.put_many([(image(1, 5_000), ("out",)), (image(2), ("out",))])
    assert ids(batch(spool, max_bytes=100)) == ["id-1"]


@pytest.mark.parametrize("max_bytes", [0, 1 << 20])
@pytest.mark.timeout(20)
def test_an_entry_whose_event_is_missing_hides_no_other(spool: Spool, max_bytes: int):
    """A damaged file may have lost it."""
    spool.put_many(images(3))
    with sqlite3.connect(spool.path) as db:
        db.execute("DELETE FROM events WHERE id IN ('id-0', 'id-1')")
    assert ids(spool.peek("out", limit=1, max_bytes=max_bytes)) == ["id-2"]
    spool.ack_many(spool.peek("out", max_bytes=max_bytes))
    assert spool.peek("out", max_bytes=max_bytes) == []


def test_what_failed_before_is_in_no_batch(spool: Spool):
    spool.put_many(images(4))
    first, second, *_ = batch(spool)
    spool.retry(first, NOW + 60, "no answer")
    spool.retry(second, NOW - 1, "no answer")
    assert ids(batch(spool)) == ["id-2", "id-3"]
    assert ids(batch(spool, newest=True)) == ["id-3", "id-2"]


def show(spool: Spool) -> list[object]:
    assert spool.ledger is not None
    waiting = [spool.peek(lane, limit=99) for lane in ("a", "b")]
    lines = [replace(line, changed_at=0.0) for line in spool.ledger.read()]
    return [waiting, lines, spool.lanes(), spool.ledger.counts(), spool.remembered()]
