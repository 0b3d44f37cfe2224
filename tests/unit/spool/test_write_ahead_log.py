"""A damaged place in SQLite's log costs one entry at most; what a power cut left half written is dropped as before."""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Spool
from eaves.spool.file.frame_checksum import checksum, correct
from eaves.spool.file.write_ahead_log import repair

COUNT = 6
HEADER, FRAME = 32, 24 + 4096
MIDDLE = "e2"


def image(number: int) -> Event:
    data = random.Random(number).randbytes(9_000)
    return Event(id=f"e{number}", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=data)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool of some images whose process was killed: all are in the log."""
    folder = tmp_path_factory.mktemp("killed")
    with Spool(folder / "made.db") as spool:
        spool.database()._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(COUNT):
            spool.put(image(number))
        for end in ("", "-wal"):
            shutil.copyfile(f"{folder / 'made.db'}{end}", f"{folder / 'spool.db'}{end}")
    return folder / "spool.db"


@pytest.fixture
def path(killed: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for end in ("", "-wal"):
        shutil.copyfile(f"{killed}{end}", f"{tmp_path / 'spool.db'}{end}")
    return tmp_path / "spool.db"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def flip(path: Path, at: int, change: int = 0x10) -> None:
    content = bytearray(log_of(path).read_bytes())
    content[at] ^= change
    log_of(path).write_bytes(content)


def read_all(path: Path) -> list[Event]:
    with Spool(path) as spool:
        return [entry.event for entry in spool.peek("out", limit=99, now=0)]


def was_salvaged(path: Path) -> bool:
    return bool(list(path.parent.glob("spool.db.damaged-*")))


def test_a_log_without_damage_stays_as_it_is(path: Path) -> None:
    before = log_of(path).stat().st_mtime_ns, log_of(path).read_bytes()
    assert not repair(path)
    assert (log_of(path).stat().st_mtime_ns, log_of(path).read_bytes()) == before
    assert read_all(path) == [image(number) for number in range(COUNT)]


@pytest.mark.parametrize("at", range(HEADER))
def test_a_flipped_byte_of_the_logs_header_costs_nothing(path: Path, at: int) -> None:
    flip(path, at)
    assert read_all(path) == [image(number) for number in range(COUNT)]


@pytest.mark.parametrize("at", range(24))
@pytest.mark.parametrize("frame", [0, 12])
def test_a_flipped_byte_of_a_frames_header_costs_nothing(path: Path, frame: int, at: int) -> None:
    flip(path, HEADER + frame * FRAME + at)
    assert read_all(path) == [image(number) for number in range(COUNT)]
    assert not was_salvaged(path) or at in {3, 7}, "only a word's highest byte leaves a doubt"


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_of_a_page_costs_nothing_but_where_it_may_be_in_several_places(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    frames = (log_of(path).stat().st_size - HEADER) // FRAME
    at = HEADER + chance.randrange(frames - 4) * FRAME + 24 + chance.randrange(4096)
    flip(path, at, 1 << chance.randrange(8))
    found = read_all(path)
    whole = [image(number) for number in range(COUNT)]
    assert sum(event in whole for event in found) >= COUNT - 1
    assert found == whole or (at - HEADER) % FRAME % 4 >= 2, "only a word's higher half leaves a doubt"


def test_a_torn_page_in_the_middle_costs_no_entry_but_its_own(path: Path) -> None:
    content = bytearray(log_of(path).read_bytes())
    at = content.index(image(2).data[5_000:5_100])
    content[at : at + 512] = bytes(512)
    log_of(path).write_bytes(content)
    found = read_all(path)
    assert [event for event in found if event.id != MIDDLE] == [image(number) for number in range(COUNT) if number != 2]
    assert was_salvaged(path)


def test_a_torn_page_in_the_log_of_a_young_spool_costs_no_entry_but_its_own(tmp_path: Path) -> None:
    """Nothing of it is in the file yet, its schema included."""
    made, path = tmp_path / "made" / "spool.db", tmp_path / "spool.db"
    with Spool(made) as spool:
        for number in range(COUNT):
            spool.put(image(number))
        for end in ("", "-wal"):
            shutil.copyfile(f"{made}{end}", f"{path}{end}")
    content = bytearray(log_of(path).read_bytes())
    at = content.index(image(2).data[5_000:5_100])
    content[at : at + 512] = bytes(512)
    log_of(path).write_bytes(content)
    assert [event for event in read_all(path) if event.id != MIDDLE] == [image(n) for n in range(COUNT) if n != 2]


@pytest.mark.parametrize("how", ["cut off", "zeroed", "first frame missing"])
def test_what_a_power_cut_left_of_the_last_put_is_dropped_and_nothing_is_salvaged(path: Path, how: str) -> None:
    content = bytearray(log_of(path).read_bytes())
    frames = (len(content) - HEADER) // FRAME
    ends = [n for n in range(frames) if content[HEADER + n * FRAME + 4 : HEADER + n * FRAME + 8] != bytes(4)]
    first = HEADER + (ends[-2] + 1) * FRAME
    if how == "cut off":
        del content[first + FRAME + 100 :]
    elif how == "zeroed":
        content[first + FRAME :] = bytes(len(content) - first - FRAME)
    else:
        content[first : first + FRAME] = bytes(FRAME)
    log_of(path).write_bytes(content)
    assert read_all(path) == [image(number) for number in range(COUNT - 1)]
    assert not was_salvaged(path)


def test_the_frames_of_an_earlier_generation_of_the_log_are_left_alone(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old" / "spool.db"
    old.parent.mkdir()
    with Spool(path) as spool:
        spool.database()._writer.execute("PRAGMA wal_checkpoint(RESTART)")
        spool.put(Event(id="last", source="/eaves/site/camera", type="t"))
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{old}{end}")
    before = log_of(old).read_bytes()
    assert len(before) > 10 * FRAME, "the frames before the restart are still in the file"
    assert not repair(old)
    assert log_of(old).read_bytes() == before
    assert [event.id for event in read_all(old)][-1] == "last"


def test_a_log_in_use_is_left_alone(path: Path) -> None:
    with Spool(path) as spool:
        spool.put(image(100))
        before = log_of(path).read_bytes()
        flip(path, HEADER + FRAME + 100)
        damaged = log_of(path).read_bytes()
        with Spool(path):
            assert log_of(path).read_bytes() == damaged
        log_of(path).write_bytes(before)


@pytest.mark.parametrize("kept", [0, HEADER, HEADER + 24])
def test_a_log_of_zeros_holds_nothing(path: Path, kept: int) -> None:
    content = log_of(path).read_bytes()
    log_of(path).write_bytes(content[:kept] + bytes(len(content) - kept))
    assert not repair(path)
    assert read_all(path) == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_checksum_tells_which_byte_was_changed(order: str) -> None:
    chance = random.Random(1)
    content = chance.randbytes(4_104)
    stored = checksum(content, order, (7, 9))
    reported = 0
    for _ in range(40):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        found = correct(bytes(damaged), order, (7, 9), stored)
        assert found in {content, None}
        reported += found == content
    assert reported >= 20
    damaged[0] ^= 1
    damaged[2_000] ^= 1
    assert correct(bytes(damaged), order, (7, 9), stored) is None


def test_the_checksum_is_sqlites(path: Path) -> None:
    content = log_of(path).read_bytes()
    assert struct.unpack(">2I", content[24:32]) == checksum(content[:24], "<")
