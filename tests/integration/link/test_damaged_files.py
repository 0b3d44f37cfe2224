"""Flipped bytes and torn sectors anywhere in a spool's file or log: one entry is set aside, and the rest delivered."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError
from eaves.events import Event
from eaves.spool import Entry, LedgerLimits, Spool
from tests.jepsen.damage import destroy_block, flip_byte, tear_page

SEEDS = 8
COUNT = 40
LANE = "out"
SOURCE = "/eaves/jepsen/camera"
PAGE_ENTRIES = 4
"""Most entries of which a part lies on one page, as the smallest event here has 1,500 bytes."""
Damage = Callable[[Path, random.Random], int]


def make_image(number: int) -> Event:
    """An image without a digest of its own, as a prediction is; it is large enough that few share a page."""
    chance = random.Random(number)
    return Event(id=f"e{number}", source=SOURCE, type="t", data=chance.randbytes(chance.randrange(1_500, 20_000)))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a process that was killed: half of the events are in the file, the others in its log."""
    folder = tmp_path_factory.mktemp("killed")
    with Spool(folder / "made.db", ledger=LedgerLimits()) as spool:
        for number in range(COUNT):
            spool.put(make_image(number), lanes=(LANE,), once=True)
            if number == COUNT // 2:
                spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for end in ("", "-wal"):
            shutil.copyfile(f"{folder / 'made.db'}{end}", f"{folder / 'spool.db'}{end}")
    return folder / "spool.db"


def damage_copy(killed: Path, folder: Path, end: str, damage: Damage, seed: int) -> Path:
    for name in ("", "-wal"):
        shutil.copyfile(f"{killed}{name}", f"{folder / 'spool.db'}{name}")
    damage(folder / f"spool.db{end}", random.Random(seed))
    return folder / "spool.db"


def deliver_all(spool: Spool) -> list[Event]:
    """Everything that is delivered; a call that finds damage is made again, as a deliverer does."""
    delivered: list[Event] = []
    failures = 0
    while failures < 10:
        try:
            entries: list[Entry] = spool.peek_batch(LANE, now=2e9, max_events=7, max_bytes=1 << 30)
            if not entries:
                return delivered
            spool.ack_many(entries)
            delivered += [entry.event for entry in entries]
        except SpoolDamagedError:
            failures += 1
    raise AssertionError("the damage is found again and again")


def check(path: Path, most: int, *, uncommitted: int) -> None:
    """Deliver what a damaged spool holds and compare it with what was put.

    Args:
        path: The spool.
        most: Entries that may be missing.
        uncommitted: Entries that the end of a log may have held, which looks as if it had never been written.
    """
    with Spool(path, ledger=LedgerLimits()) as spool:
        delivered = deliver_all(spool)
        with contextlib.suppress(SpoolDamagedError):  # a damaged counter shows here first
            spool.counts()
        dead = spool.counts().get(LANE, (0, 0))[1]
        assert spool.depth() == 0, "nothing is hidden"
        for event in delivered:
            assert event == make_image(int(event.id[1:])), f"{event.id} is delivered with other bytes"
        ids = {event.id for event in delivered}
        assert len(ids) >= COUNT - most
        assert spool.ledger is not None
        lines = {line.id: line.state for line in spool.ledger.read()}
        reported = [line for line, state in lines.items() if state in {"dead", "lost"}]
        assert len(reported) >= dead
        gone = {f"e{number}" for number in range(COUNT)} - ids
        assert all(lines[name] in {"dead", "lost"} for name in gone & lines.keys()), "the ledger names what is gone"
        nameless = [name for name in reported if name.startswith("line-")]
        assert len(gone - lines.keys()) <= len(nameless) + uncommitted, "what is gone with its line is counted"
        with contextlib.suppress(SpoolDamagedError):
            spool.put(make_image(1_000), lanes=(LANE,), once=True)
        assert not spool.put(make_image(1_000), lanes=(LANE,), once=True) or spool.depth() == 1, "the spool still works"


@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_flipped_byte_costs_one_entry_at_most(killed: Path, memory_folder: Path, end: str, seed: int) -> None:
    path = damage_copy(killed, memory_folder, end, flip_byte, seed)
    check(path, most=1, uncommitted=bool(end))


@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_a_torn_page_costs_the_entries_on_it_at_most(killed: Path, memory_folder: Path, end: str, seed: int) -> None:
    path = damage_copy(killed, memory_folder, end, tear_page, seed)
    check(path, most=PAGE_ENTRIES, uncommitted=bool(end))


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_what_a_destroyed_block_costs_is_reported_by_the_ledger(killed: Path, memory_folder: Path, seed: int) -> None:
    path = damage_copy(killed, memory_folder, "", destroy_block, seed)
    check(path, most=COUNT, uncommitted=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize(("damage", "most"), [(flip_byte, 1), (tear_page, PAGE_ENTRIES), (destroy_block, COUNT)])
def test_a_thousand_places(killed: Path, memory_folder: Path, end: str, damage: Damage, most: int) -> None:
    for seed in range(1_000):
        folder = memory_folder / str(seed)
        folder.mkdir()
        uncommitted = COUNT if damage is destroy_block and end else bool(end)
        check(damage_copy(killed, folder, end, damage, seed), most, uncommitted=uncommitted)
        shutil.rmtree(folder)
