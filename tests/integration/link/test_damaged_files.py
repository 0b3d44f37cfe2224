"""Flipped bytes and torn sectors anywhere in a spool's file or log: no event is delivered with other bytes, what is not
delivered is kept, and the spool still works.
"""

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

COUNT = 40
LANE = "out"
SOURCE = "/eaves/jepsen/camera"
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
            entries: list[Entry] = spool.peek(LANE, limit=7, max_bytes=1 << 30)
            if not entries:
                return delivered
            spool.ack_many(entries)
            delivered += [entry.event for entry in entries]
        except SpoolDamagedError:
            failures += 1
    raise AssertionError("the damage is found again and again")


def check(path: Path, *, of_log: bool) -> None:
    """Deliver what a damaged spool holds and compare it with what was put.

    Args:
        path: The spool.
        of_log: Whether its log was damaged: then SQLite drops what follows the place, as it drops the end of a log that
            a power cut left half written.
    """
    with Spool(path, ledger=LedgerLimits()) as spool:
        delivered = deliver_all(spool)
        for event in delivered:
            assert event == make_image(int(event.id[1:])), f"{event.id} is delivered with other bytes"
        assert len(delivered) == len({event.id for event in delivered})
        if of_log:
            assert [event.id for event in delivered] == [f"e{number}" for number in range(len(delivered))]
            assert len(delivered) > COUNT // 2, "what is in the file is delivered"
        with contextlib.suppress(SpoolDamagedError):  # a damaged counter shows here first
            spool.counts()
        gone = {f"e{number}" for number in range(COUNT)} - {event.id for event in delivered}
        kept = sum(sum(counted) for counted in spool.counts().values())
        aside = path.with_name(f"{path.name}.damaged")
        assert of_log or len(gone) <= kept or aside.exists(), "what isn't delivered is a dead letter or in the file"
        assert spool.ledger is not None
        lines = {line.id: line.state for line in spool.ledger.read()}
        assert of_log or not aside.exists() or all(lines[name] in {"dead", "lost"} for name in gone & lines.keys())
        with contextlib.suppress(SpoolDamagedError):
            spool.put(make_image(1_000), lanes=(LANE,), once=True)
        spool.put(make_image(1_001), lanes=(LANE,), once=True)
        assert deliver_all(spool)[-1] == make_image(1_001), "the spool still works"


@pytest.mark.long("a spool for each place, of 8 or of 1,000")
@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("damage", [flip_byte, tear_page, destroy_block])
@pytest.mark.parametrize("places", [8, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_damage_changes_no_event_and_stops_no_spool(
    killed: Path, memory_folder: Path, damage: Damage, end: str, places: int
):
    for seed in range(places):
        folder = memory_folder / str(seed)
        folder.mkdir()
        check(damage_copy(killed, folder, end, damage, seed), of_log=bool(end))
        shutil.rmtree(folder)
