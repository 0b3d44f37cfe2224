"""A damaged file: every entry that can be read is delivered, and the damaged file is kept beside the new one."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.errors import SpoolDamagedError, SpoolError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, Selection, Spool, salvage
from eaves.spool.admin import list_entries
from eaves.spool.salvage import KEPT_FILES, LOST_LANE

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
