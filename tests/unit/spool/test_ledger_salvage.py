"""A damaged spool that keeps a ledger: its lines are carried into the new file and agree with the entries there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError
from eaves.spool import LedgerLimits, LedgerLine, Spool
from tests.unit.spool.test_salvage import (
    COUNT,
    PAGE,
    cut_in_half,
    damage,
    image,
    read_all,
    zero_first_page,
    zero_middle,
)

BOUND = LedgerLimits(max_entries=10_000)


def fill(path: Path, *, made_later: bool) -> None:
    """200 images: the first refused, the next three delivered, two that came again."""
    with Spool(path, ledger=None if made_later else BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(COUNT)], once=True)
    with Spool(path, ledger=BOUND) as spool:
        first, *others = spool.peek("out", limit=4, now=2e9)
        spool.dead_letter(first, "answered 422", 422)
        spool.ack_many(others)
        spool.put_many([(image(number), ("out",)) for number in (1, 7)], once=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "spool.db"
    fill(path, made_later=False)
    return path


def lines(spool: Spool) -> list[LedgerLine]:
    """Every line; a damaged file is an error once, and replaced by the next call."""
    assert spool.ledger is not None
    with contextlib.suppress(SpoolDamagedError):
        return spool.ledger.read(limit=10 * COUNT)
    return spool.ledger.read(limit=10 * COUNT)


def table_root(path: Path, name: str) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])
    finally:
        db.close()


def zero_page(number: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)

    return change


def test_a_destroyed_first_page_costs_no_line(path: Path) -> None:
    with Spool(path) as spool:
        before = lines(spool)
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert lines(spool) == before
        assert spool.ledger is not None
        counts = spool.ledger.counts()
        assert (counts.queued, counts.released, counts.dead, counts.lost) == (COUNT - 4, 3, 1, 0)
        assert (counts.repeats, counts.conflicts, counts.deleted) == (2, 0, 0)
        assert not spool.put(image(1), once=True), "it was delivered, and its line is still known"
        assert spool.put(image(1000), once=True)
        assert lines(spool)[-1].number == COUNT + 1


def test_a_ledger_that_was_made_later_begins_anew_with_what_waits_when_the_first_page_is_destroyed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "later.db"
    fill(path, made_later=True)
    damage(path, zero_first_page)
    with Spool(path, ledger=BOUND) as spool:
        entries = read_all(spool)
        assert len(entries) == COUNT - 4
        assert {line.id for line in lines(spool) if line.state == "queued"} == {entry.event.id for entry in entries}


@pytest.mark.parametrize("change", [zero_middle, cut_in_half])
def test_a_line_is_lost_when_its_event_is_and_the_others_agree_with_their_entries(
    path: Path, change: Callable[[bytearray], None]
) -> None:
    damage(path, change)
    with Spool(path) as spool:
        kept = {entry.event.id for entry in read_all(spool)}
        found = {line.id: line for line in lines(spool)}
        assert {event_id for event_id, line in found.items() if line.state == "queued"} == kept
        lost = [line for line in found.values() if line.state == "lost"]
        nameless = [line for line in lost if line.reason == "the line was on a damaged page"]
        assert all(line.source == "urn:eaves:lost" for line in nameless)
        assert all(line.reason == "the event was on a damaged page" for line in lost if line not in nameless)
        gone = {f"id-{number}" for number in range(COUNT)} - found.keys()
        if change is zero_middle:
            assert len(nameless) == len(gone)
        assert sorted(line.number for line in found.values()) == list(range(1, len(found) + 1)), "no number is skipped"
        assert spool.ledger is not None
        assert spool.ledger.counts().lost == len(lost)
        if change is zero_middle:
            assert lost, "the pages of some events were destroyed, and their lines are elsewhere"


def test_events_that_are_lost_with_their_lines_are_reported_by_number(path: Path) -> None:
    with Spool(path) as spool:
        content = path.read_bytes()
        pages = [
            number
            for number in range(1, len(content) // PAGE + 1)
            for piece in [content[(number - 1) * PAGE : number * PAGE]]
            if any(f"id-{one}".encode() in piece for one in range(60, 80)) and b"CREATE" not in piece
        ]
    for number in pages:
        damage(path, zero_page(number))
    with Spool(path) as spool:
        kept = {entry.event.id for entry in read_all(spool)}
        found = lines(spool)
        lost = [line for line in found if line.state == "lost"]
        named = {line.id for line in found}
        gone = {f"id-{number}" for number in range(COUNT)} - named
        assert gone, "some events are lost with their lines"
        nameless = [line for line in lost if line.source == "urn:eaves:lost"]
        assert len(nameless) == len(gone)
        assert all(line.id == f"line-{line.number}" and line.taken_at > 0 for line in nameless)
        assert [line.number for line in found] == list(range(1, COUNT + 1))
        assert not gone & kept
        assert spool.put(image(1000), once=True)
        assert lines(spool)[-1].number == COUNT + 1


def test_lines_that_were_deleted_to_keep_the_bound_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "bound.db"
    with Spool(path, ledger=LedgerLimits(max_entries=50)) as spool:
        spool.put_many([(image(0), ("out",))])
        spool.dead_letter(spool.peek("out", now=2e9)[0], "answered 422", 422)
        for number in range(1, COUNT):
            spool.put(image(number), once=True)
            if number < COUNT - 10:
                spool.ack_many(spool.peek("out", limit=9, now=2e9))
        before = lines(spool)
        assert before[0].deleted == COUNT - 50
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert lines(spool) == before


def test_without_the_count_of_deleted_lines_all_that_are_not_there_are_lost(path: Path) -> None:
    with Spool(path) as spool:
        spool.database().commit(lambda db: db.execute("DELETE FROM ledger WHERE number BETWEEN 5 AND 9"))
        spool.database().commit(lambda db: db.execute("UPDATE ledger_totals SET deleted = 5, queued = 'x'"))
        spool.database().commit(lambda db: db.execute("DELETE FROM events WHERE eid BETWEEN 5 AND 9"))
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert [line.number for line in lines(spool) if line.state == "lost"] == [5, 6, 7, 8, 9]
        assert lines(spool)[0].deleted == 0


def test_entries_whose_lines_are_lost_get_new_ones(path: Path) -> None:
    damage(path, zero_page(table_root(path, "ledger")))
    with Spool(path) as spool:
        entries = read_all(spool)
        assert len(entries) == COUNT - 1 - 3
        assert [line.number for line in lines(spool)] == list(range(1, COUNT + 1)), "with the numbers that they had"
        waiting = [line for line in lines(spool) if line.state == "queued"]
        assert {line.id for line in waiting} == {entry.event.id for entry in entries}
        spool.ack_many(entries)
        assert not [line for line in lines(spool) if line.state == "queued"]


@pytest.mark.parametrize("change", ["state = 9", "state = 'x'", "id = x'00'", "taken_at = 'x'", "eid = 'x'"])
def test_a_line_that_no_spool_writes_is_made_anew(path: Path, change: str) -> None:
    with Spool(path) as spool:
        spool.database().commit(lambda db: db.execute(f"UPDATE ledger SET {change} WHERE number = 10"))
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert sorted(line.id for line in lines(spool)) == sorted(f"id-{number}" for number in range(COUNT))
        assert {line.state for line in lines(spool) if line.id == "id-9"} == {"queued"}


def test_a_file_that_is_mended_while_it_is_open_keeps_its_ledger(tmp_path: Path) -> None:
    path = tmp_path / "open.db"
    fill(path, made_later=True)
    with Spool(path) as spool:  # asks for no ledger, and has one
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool.database()._reader.execute("PRAGMA cache_size = 0")
        damage(path, lambda content: content.__setitem__(slice(PAGE, None), b"\xff" * (len(content) - PAGE)))
        with pytest.raises(SpoolDamagedError):
            spool.peek("out", now=0)
        assert spool.put(image(1000), once=True)
        assert [line.id for line in lines(spool)][-1] == "id-1000"
