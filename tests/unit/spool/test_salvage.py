"""A damaged file: every entry that can be read is delivered, and the damaged file is kept beside the new one."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError, SpoolError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, Selection, Spool
from eaves.spool.admin import list_entries
from eaves.spool.file import salvage
from eaves.spool.file.database import Database
from eaves.spool.file.salvage import KEPT_FILES, LOST_LANE
from tests.fakes.clock import ManualClock

PAGE = 4096
COUNT = 200


def image(number: int) -> Event:
    data = f"image {number} ".encode() * 300
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    source = "/eaves/site/camera"
    return Event(id=f"id-{number}", source=source, type=IMAGE_CAPTURED, data=data, extensions={"datadigest": digest})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool of 200 images, the first of them refused."""
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        for number in range(COUNT):
            spool.put(image(number), once=True)
        spool.dead_letter(spool.peek("out", now=0)[0], "answered 422", 422)
    return path


def statement(sql: str) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(sql)


def damage(path: Path, change: Callable[[bytearray], None]) -> bytes:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return bytes(content)


def zero_middle(content: bytearray) -> None:
    middle = len(content) // 2 // PAGE * PAGE
    content[middle : middle + 2 * PAGE] = bytes(2 * PAGE)


def zero_first_page(content: bytearray) -> None:
    content[:PAGE] = bytes(PAGE)


def cut_in_half(content: bytearray) -> None:
    del content[len(content) // 2 :]


def everything(content: bytearray) -> None:
    content[PAGE:] = b"\xff" * (len(content) - PAGE)


def read_all(spool: Spool) -> list[Entry]:
    """What is queued; a damaged file is an error once, and replaced by the next call."""
    with contextlib.suppress(SpoolDamagedError):
        return spool.peek("out", limit=COUNT, now=0)
    return spool.peek("out", limit=COUNT, now=0)


@pytest.mark.parametrize(
    ("change", "at_least"), [(zero_middle, 150), (zero_first_page, COUNT - 1), (cut_in_half, 60), (everything, 0)]
)
def test_what_can_be_read_is_carried_over_and_the_damaged_file_is_kept(
    path: Path, change: Callable[[bytearray], None], at_least: int, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = damage(path, change)
    with Spool(path) as spool:
        found = read_all(spool)
        kept = [entry.event for entry in found]
        assert at_least <= len(kept) <= COUNT - 1
        assert all(event == image(int(event.id.removeprefix("id-"))) for event in kept)
        assert spool.put(image(1000))
    [aside] = [file for file in path.parent.glob("spool.db.damaged-*") if not file.name.endswith("-wal")]
    assert aside.read_bytes() == damaged
    assert any(str(aside) in record.getMessage() for record in caplog.records)
    with Spool(path) as spool:
        assert len(read_all(spool)) == len(kept) + 1


def test_an_event_whose_data_are_in_a_bucket_is_carried_over(path: Path) -> None:
    digest = f"sha256:{hashlib.sha256(b'in the bucket').hexdigest()}"
    with Spool(path) as spool:
        spool.put(replace(image(1001), data=b"").with_extensions(datadigest=digest, dataref="https://a/b"))
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert read_all(spool)[-1].event.extensions["dataref"] == "https://a/b"


def test_damage_that_shows_while_it_is_open_is_mended_in_place(path: Path) -> None:
    with Spool(path) as spool:
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool.database()._reader.execute("PRAGMA cache_size = 0")
        damage(path, everything)
        assert read_all(spool) == []
        assert spool.put(image(1000))
        assert [entry.event for entry in read_all(spool)] == [image(1000)]


def test_dead_letters_and_ids_are_carried_over_and_counters_begin_anew(path: Path) -> None:
    damage(path, zero_first_page)
    with Spool(path) as spool:
        assert spool.counts() == {"out": (COUNT - 1, 1)}
        assert [letter.reason for letter in spool.dead()] == ["answered 422"]
        assert spool.remembered() == COUNT
        assert not spool.put(image(7), once=True)


def test_an_event_whose_place_in_the_queue_is_lost_is_kept_as_a_dead_letter(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TRIGGER delivery_out")
    db.execute("DELETE FROM deliveries WHERE seq = 5")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with Spool(path) as spool:
        spool.put(image(999), lanes=("another",))  # with several lanes nobody knows which one it was
    damage(path, zero_middle)
    with Spool(path) as spool:
        read_all(spool)
        [orphan] = list_entries(spool, Selection(lane=LOST_LANE, state="dead"), limit=1)
        assert orphan.event_id == "id-4"


def test_an_image_whose_bytes_are_not_those_that_were_put_is_not_delivered(path: Path) -> None:
    def change_one_image(content: bytearray) -> None:
        at = content.index(b"image 150 image 150")
        content[at : at + 5] = b"IMAGE"
        zero_first_page(content)

    damage(path, change_one_image)
    with Spool(path) as spool:
        assert "id-150" not in {entry.event.id for entry in read_all(spool)}


@pytest.mark.parametrize("stage", ["carried", "moved"])
def test_a_process_killed_while_it_replaces_the_file_leaves_what_the_next_one_needs(path: Path, stage: str) -> None:
    damage(path, zero_first_page)
    salvage._carry(path)
    if stage == "moved":
        path.rename(path.with_name("spool.db.damaged-20260101T000000"))
    with Spool(path) as spool:
        assert len(read_all(spool)) == COUNT - 1
    assert not path.with_name("spool.db.salvaged").exists()


def test_only_the_newest_damaged_files_are_kept(path: Path) -> None:
    for number in range(KEPT_FILES + 2):
        path.with_name(f"spool.db.damaged-2020010{number}T000000").write_bytes(b"old")
    damage(path, zero_first_page)
    Spool(path).close()
    kept = sorted(file.name for file in path.parent.glob("spool.db.damaged-*") if not file.name.endswith("-wal"))
    assert len(kept) == KEPT_FILES
    assert kept[-1] > "spool.db.damaged-2025"


def test_a_file_that_another_process_has_open_is_left_alone(path: Path) -> None:
    with Spool(path) as other:
        other.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damaged = damage(path, zero_first_page)
        with pytest.raises(SpoolError, match="another process has it open"):
            Spool(path)
        assert path.read_bytes() == damaged


def test_entries_whose_records_are_lost_are_found_by_their_indexes(path: Path) -> None:
    with Spool(path) as spool:
        spool.put(image(1000), lanes=("other", "out"))
        root = spool.database().read("SELECT rootpage FROM sqlite_master WHERE name = 'deliveries'")[0][0]

    def zero_root(content: bytearray) -> None:
        content[(root - 1) * PAGE : root * PAGE] = bytes(PAGE)

    damage(path, zero_root)
    with Spool(path) as spool:
        assert [entry.event for entry in read_all(spool)] == [image(number) for number in [*range(1, COUNT), 1000]]
        assert spool.counts() == {"other": (1, 0), "out": (COUNT, 1)}
        assert [entry.event for entry in spool.peek("other", now=0)] == [image(1000)]


def test_what_was_committed_last_is_carried_over_when_the_first_page_is_destroyed(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "after a power cut" / "spool.db"
    copy.parent.mkdir()
    with Spool(path) as spool:
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        small = Event(id="last", source="/eaves/site/camera", type=IMAGE_CAPTURED)
        spool.put(small)
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    damage(copy, zero_first_page)
    with Spool(copy) as spool:
        assert spool.peek("out", limit=COUNT + 1, now=0)[-1].event == small
    assert not list(copy.parent.glob("*salvage*"))


def test_the_log_of_the_damaged_file_goes_with_it(path: Path, tmp_path: Path) -> None:
    """Beside the new file SQLite would take it for that one's."""
    copy = tmp_path / "killed" / "spool.db"
    copy.parent.mkdir()
    with Spool(path) as spool:
        spool.put(image(1000))
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    log = Path(f"{copy}-wal").read_bytes()
    salvage._carry(copy)
    with Spool(copy) as spool:
        assert len(spool.peek("out", limit=2 * COUNT, now=0)) == COUNT
        [aside] = copy.parent.glob("spool.db.damaged-*-wal")
        assert aside.read_bytes() == log


def test_a_file_that_another_process_has_replaced_is_opened_again(path: Path) -> None:
    """A failed attempt takes no time when the clock stands still, so the next one is made at once."""
    with Spool(path, clock=ManualClock()) as mine, Spool(path) as other:
        for spool in (mine, other):
            spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            spool.database()._reader.execute("PRAGMA cache_size = 0")
        damage(path, everything)
        with pytest.raises(SpoolDamagedError):
            mine.peek("out", now=0)
        with pytest.raises(SpoolError, match="another process has it open"):
            mine.peek("out", now=0)
        assert read_all(other) == []
        assert other.put(image(1000))
        assert [entry.event for entry in read_all(mine)] == [image(1000)]


def test_who_opens_a_file_while_it_is_being_replaced_waits_for_what_is_carried_over(path: Path) -> None:
    """The process that replaced it was killed after the other had looked whether one does."""
    damage(path, zero_first_page)
    salvage._carry(path)
    path.rename(path.with_name("spool.db.damaged-20260101T000000"))
    with pytest.raises(SpoolDamagedError):
        Database(path)
    assert not path.exists()


def test_a_disk_that_is_full_is_not_filled_by_what_could_not_be_carried_over(path: Path) -> None:
    damaged = damage(path, zero_first_page)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(damaged) // 2, before[1]))
    try:
        with pytest.raises(SpoolError):
            Spool(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heeded)
    assert {file.name for file in path.parent.iterdir() if not file.name.endswith(".lease")} == {"spool.db"}
    with Spool(path) as spool:
        assert len(read_all(spool)) == COUNT - 1


def test_the_damaged_file_is_kept_after_a_clock_was_set_back(path: Path) -> None:
    for number in range(KEPT_FILES):
        path.with_name(f"spool.db.damaged-2099010{number}T000000").write_bytes(b"old")
    damaged = damage(path, zero_first_page)
    Spool(path).close()
    kept = [file.read_bytes() for file in path.parent.glob("spool.db.damaged-*") if not file.name.endswith("-wal")]
    assert sorted(kept) == sorted([b"old", damaged])


def test_an_old_event_whose_place_is_lost_does_not_expire_at_once(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with Spool(path, clock=ManualClock(1_000_000.0)) as spool:
        spool.put(image(1), lanes=("a",))
        spool.put(image(2), lanes=("b",))
        for sql in ("DROP TRIGGER delivery_out", "DELETE FROM deliveries WHERE seq = 1", "DROP INDEX by_due"):
            spool.database().commit(statement(sql))
    damage(path, zero_first_page)
    with Spool(path) as spool:
        spool.keep_limits()
        assert spool.counts() == {"b": (1, 0), LOST_LANE: (0, 1)}


@pytest.mark.parametrize(
    "change",
    [
        "attempts = 'x'",
        "not_before = -1",
        "died_at = 'x'",
        "reason = x'00'",
        "lane = x'00'",
        "eid = 'x'",
        "status = 'x'",
    ],
)
def test_what_no_spool_writes_is_not_carried_over(path: Path, change: str) -> None:
    with Spool(path) as spool:
        spool.database().commit(statement(f"UPDATE deliveries SET {change} WHERE seq = 5"))
    damage(path, zero_first_page)
    with Spool(path) as spool:
        found = read_all(spool)
        assert len(found) == COUNT - 1
        assert all(entry.attempts == 0 and entry.lane == "out" for entry in found)
        spool.dead_letter(found[3], "answered 422", 422)
        assert len(spool.dead()) == 2


def test_keys_out_of_order_end_no_salvage(path: Path) -> None:
    """A page whose cells were mixed up: reading on from the last key would find the same ones for ever."""
    db = sqlite3.connect(path)
    root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'deliveries'").fetchone()[0]
    db.close()

    def mix(content: bytearray) -> None:
        zero_first_page(content)
        start = (root - 1) * PAGE
        first = int.from_bytes(content[start + 8 : start + 12], "big") if content[start] == 5 else root
        leaf = start if content[start] == 13 else (first - 1) * PAGE
        cells = leaf + (8 if content[leaf] == 13 else 12)
        number = int.from_bytes(content[leaf + 3 : leaf + 5], "big")
        pointers = [bytes(content[cells + 2 * at : cells + 2 * at + 2]) for at in range(number)]
        content[cells : cells + 2 * number] = b"".join(reversed(pointers))

    damage(path, mix)
    with Spool(path) as spool:
        assert spool.put(image(1000))
