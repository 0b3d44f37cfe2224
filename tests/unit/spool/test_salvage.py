"""A damaged file: entries whose bytes are right are delivered from a new file, and the damaged one is kept."""

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError, SpoolError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, LedgerLimits, LedgerLine, Spool, salvage
from tests.fakes.clock import ManualClock
from tests.unit.spool import entries

PAGE = 2048
COUNT = 200
NOW = 2e9
BOUND = LedgerLimits(max_entries=10_000)


def image(number: int) -> Event:
    return entries.image(number, data=f"image {number} ".encode() * 300)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool of 200 images, the first of them refused."""
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(COUNT)], once=True)
        spool.dead_letter(spool.peek("out")[0], "answered 422", 422)
    return path


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    """The same with a ledger; the next three were delivered, and two images came again."""
    path = tmp_path / "ledger.db"
    with Spool(path, ledger=BOUND) as spool:
        spool.put_many([(image(number), ("out",)) for number in range(COUNT)], once=True)
        first, *others = spool.peek("out", limit=4)
        spool.dead_letter(first, "answered 422", 422)
        spool.ack_many(others)
        spool.put_many([(image(number), ("out",)) for number in (1, 7)], once=True)
    return path


def damage(path: Path, change: Callable[[bytearray], None]) -> bytes:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return bytes(content)


def root_page(path: Path, name: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])


def zero_page(path: Path, number: int) -> bytes:
    return damage(path, lambda content: content.__setitem__(slice((number - 1) * PAGE, number * PAGE), bytes(PAGE)))


def zero_index(path: Path) -> bytes:
    """Destroy the index that finds entries; every row can still be read."""
    return zero_page(path, root_page(path, "by_due"))


def zero_middle(content: bytearray) -> None:
    middle = len(content) // 2 // PAGE * PAGE
    content[middle : middle + 2 * PAGE] = bytes(2 * PAGE)


def zero_first_page(content: bytearray) -> None:
    content[:PAGE] = bytes(PAGE)


def everything(content: bytearray) -> None:
    content[PAGE:] = b"\xff" * (len(content) - PAGE)


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for sql in statements:
            db.execute(sql)


def read_all(spool: Spool, lane: str = "out") -> list[Entry]:
    """What is queued; a damaged file is an error once, and replaced by the next call."""
    with contextlib.suppress(SpoolDamagedError):
        return spool.peek(lane, limit=2 * COUNT)
    return spool.peek(lane, limit=2 * COUNT)


def read_lines(spool: Spool) -> list[LedgerLine]:
    assert spool.ledger is not None
    return spool.ledger.read(limit=10 * COUNT)


def show_damage(spool: Spool) -> None:
    """Let damage be noticed by a spool that is open."""
    spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool.database()._reader.execute("PRAGMA cache_size = 0")


@pytest.mark.parametrize(("change", "at_least"), [(zero_middle, 150), (zero_first_page, 0), (everything, 0)])
def test_what_can_be_read_is_copied_and_the_damaged_file_is_kept(
    path: Path, change: Callable[[bytearray], None], at_least: int, caplog: pytest.LogCaptureFixture
):
    damaged = damage(path, change)
    with Spool(path) as spool:
        kept = [entry.event for entry in read_all(spool)]
        assert at_least <= len(kept) <= COUNT - 1
        assert all(event == image(int(event.id.removeprefix("id-"))) for event in kept)
        assert spool.put(image(1000))
    aside = path.with_name("spool.db.damaged")
    if aside.exists() or change is not zero_middle:
        assert aside.read_bytes() == damaged
        (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert f"{len(kept)} entries" in line.getMessage() or f"{len(kept) + 1} entries" in line.getMessage()
        assert str(aside) in line.getMessage()
    with Spool(path) as spool:
        assert len(read_all(spool)) == len(kept) + 1


def test_entries_between_damaged_pages_are_copied(tmp_path: Path):
    path, count = tmp_path / "spool.db", 5_000
    with Spool(path) as spool:
        spool.put_many(
            [(Event(id=f"id-{number}", source="/s", type=IMAGE_CAPTURED), ("out",)) for number in range(count)]
        )
    content = path.read_bytes()
    pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
    is_leaf = 0x0D  # sqlite.org/fileformat.html, section 1.6
    leaves = [
        number
        for number, page in enumerate(pages, 1)
        if page[0] == is_leaf and b"queued" in page and b"CREATE" not in page
    ]
    damaged = (leaves[0], leaves[5], leaves[6], leaves[-4], leaves[-1])
    for number in damaged:
        zero_page(path, number)
    with Spool(path) as spool:
        with contextlib.suppress(SpoolDamagedError):
            spool.peek("out", limit=count)
        kept = spool.peek("out", limit=count)
    assert len(kept) > count * (1 - (len(damaged) + 1) / len(leaves))
    assert [entry.seq for entry in kept] == sorted({entry.seq for entry in kept})


def test_a_destroyed_index_costs_no_entry(path: Path):
    with Spool(path) as spool:
        spool.put(image(999), lanes=("another", "out"))
        [last] = [entry for entry in spool.peek("out", limit=COUNT) if entry.event.id == "id-999"]
        spool.retry(last, NOW, "answered 503")
    zero_index(path)
    with Spool(path) as spool:
        found = read_all(spool)
        assert [entry.event for entry in found] == [image(number) for number in [*range(1, COUNT), 999]]
        assert {entry.attempts for entry in found} == {0}, "attempts begin anew"
        assert [entry.event for entry in spool.peek("another")] == [image(999)]
        assert spool.counts() == {"another": (1, 0), "out": (COUNT, 1)}
        assert [(letter.reason, letter.status) for letter in spool.dead()] == [("answered 422", 422)]
        assert spool.remembered() == COUNT
        assert not spool.put(image(7), once=True)
        spool.put(image(1000))
        assert read_all(spool)[-1].seq == COUNT + 3, "numbers are never used again"


def test_a_file_that_another_process_has_open_is_left_alone(path: Path):
    with Spool(path) as other:
        show_damage(other)
        damaged = damage(path, zero_first_page)
        with pytest.raises(SpoolError, match="another process has it open"):
            Spool(path)
        assert path.read_bytes() == damaged


def test_a_file_that_another_process_has_replaced_is_opened_again(path: Path):
    """A failed attempt takes no time when the clock stands still, so the next one is made at once."""
    with Spool(path, clock=ManualClock()) as mine, Spool(path) as other:
        for spool in (mine, other):
            show_damage(spool)
        damage(path, everything)
        with pytest.raises(SpoolDamagedError):
            mine.peek("out")
        with pytest.raises(SpoolError, match="another process has it open"):
            mine.peek("out")
        assert read_all(other) == []
        assert other.put(image(1000))
        assert [entry.event for entry in read_all(mine)] == [image(1000)]


def test_the_log_of_the_damaged_file_goes_with_it(path: Path, tmp_path: Path):
    """Beside the new file SQLite would take it for that one's."""
    copy = tmp_path / "killed" / "spool.db"
    copy.parent.mkdir()
    with Spool(path) as spool:
        spool.put(image(1000))
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    log = Path(f"{copy}-wal").read_bytes()
    salvage._copy(copy)
    with Spool(copy) as spool:
        assert len(read_all(spool)) == COUNT, "with what only the log had"
        assert copy.with_name("spool.db.damaged-wal").read_bytes() == log


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("attempts = 'x', not_before = -1, died_at = 'x', status = 'x'", 0),
        ("state = 'x'", 1),
    ],
)
def test_values_that_no_spool_writes_are_not_copied(path: Path, change: str, lost: int):
    run(path, f"UPDATE deliveries SET {change} WHERE seq = 5")
    zero_index(path)
    with Spool(path) as spool:
        found = read_all(spool)
        assert len(found) == COUNT - 1 - lost
        assert all(entry.attempts == 0 and entry.lane == "out" for entry in found)
        spool.dead_letter(found[3], "answered 422", 422)
        assert len(spool.dead()) == 2 + (change == "state = 'x'")


@pytest.mark.parametrize(
    ("text", "at", "new"),
    [
        (b"TRIGGER delivery_in", 3, b"\x9e"),  # an error that is no text; the schema can't be read at all
        (b"SELECT new.lane, 1, 0, size_bytes", 24, b"L"),  # still SQL, of a column that isn't there
    ],
)
def test_a_schema_whose_text_was_changed_stops_no_queue_for_good(path: Path, text: bytes, at: int, new: bytes):
    start = path.read_bytes().index(text) + at
    damage(path, lambda content: content.__setitem__(slice(start, start + 1), new))
    with Spool(path) as spool:
        with contextlib.suppress(SpoolDamagedError):
            spool.put(image(1000))
        assert spool.put(image(1001))
        assert read_all(spool)[-1].event == image(1001)
        if b"new.lane" in text:
            assert len(read_all(spool)) >= COUNT, "the rows can be read"


@pytest.mark.parametrize("name", ["events", "ledger"])
def test_the_ledger_begins_anew_with_the_entries_that_were_copied(ledger_path: Path, name: str):
    zero_page(ledger_path, root_page(ledger_path, name))
    with Spool(ledger_path) as spool:
        for _ in range(2):
            with contextlib.suppress(SpoolDamagedError):
                spool.put(image(1000), once=True)
        kept = {entry.event.id for entry in read_all(spool)}
        found = read_lines(spool)
        assert {line.id for line in found if line.state == "queued"} == kept
        assert found[0].deleted == found[0].number - 1, "the numbers go on, and an audit finds no gap"
        assert [line.number for line in found] == list(range(found[0].number, found[0].number + len(found)))
        spool.ack_many(read_all(spool))
        assert not [line for line in read_lines(spool) if line.state == "queued"]
