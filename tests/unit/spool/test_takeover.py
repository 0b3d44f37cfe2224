"""Spools of an agent for each source become the spool of one agent: nothing is lost, nothing is sent anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from eaves.errors import SpoolError
from eaves.events import Event
from eaves.spool import Spool, SpoolLimits
from eaves.spool.takeover import BATCH_BYTES, adopt, take_over
from tests.fakes.clock import START, ManualClock

NOW = START


def event(number: int, source: str = "/s/a", size: int = 10) -> Event:
    return Event(id=str(number), source=source, type="t", subject=f"{source}/{number}", data=bytes(size))


def fill(path: Path, source: str, numbers: range, *, size: int = 10) -> None:
    """Queue events of which the first became a dead letter, the second failed once, and the third was delivered."""
    with Spool(path, clock=ManualClock()) as spool:
        for number in numbers:
            spool.put(event(number, source, size), lanes=("sink",), once=True)
        first, second, third = spool.peek("sink", limit=3, now=NOW)
        spool.dead_letter(first, "answered 422", 422)
        spool.retry(second, NOW - 1, "answered 503")
        spool.ack(third)
        spool.put(event(0, f"{source}/reply"), lanes=("replies",))


def check(spool: Spool, source: str, numbers: range) -> None:
    """Assert that what `fill` put is there."""
    waiting = [entry for entry in spool.peek("sink", limit=10_000, now=NOW) if entry.event.source == source]
    assert [entry.event.id for entry in waiting] == [str(number) for number in [numbers[1], *numbers[3:]]]
    assert (waiting[0].attempts, waiting[0].first_put_at) == (1, NOW)
    (dead,) = [letter for letter in spool.dead() if letter.entry.event.source == source]
    assert (dead.entry.event.id, dead.reason, dead.status) == (str(numbers[0]), "answered 422", 422)
    assert all(spool.seen(source, str(number)) for number in numbers)
    assert f"{source}/reply" in [entry.event.source for entry in spool.peek("replies", limit=10_000, now=NOW)]


def test_everything_of_several_moves_and_nothing_is_left(tmp_path: Path) -> None:
    paths = [tmp_path / "sources" / f"digits.{name}.db" for name in ("a", "b")]
    for path, source in zip(paths, ("/s/a", "/s/b"), strict=True):
        fill(path, source, range(1_200))
    with Spool(tmp_path / "digits.db", clock=ManualClock()) as spool:
        spool.put(event(7, "/s/own"), lanes=("sink",))
        assert [take_over(spool, path) for path in paths] == [1_200, 1_200]
        for source in ("/s/a", "/s/b"):
            check(spool, source, range(1_200))
        assert spool.counts() == {"sink": (2 * 1_198 + 1, 2), "replies": (2, 0)}
        assert (spool.size_bytes() > 0, spool.dead_bytes() > 0) == (True, True)
        assert not spool.put(event(5), lanes=("sink",), once=True), "it is remembered"
    assert list((tmp_path / "sources").iterdir()) == []


def test_entries_larger_than_a_commit_move_one_by_one_and_no_limit_refuses_them(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", "/s/a", range(6), size=BATCH_BYTES * 2 // 3)
    with Spool(tmp_path / "new.db", limits=SpoolLimits(max_bytes=1_000), clock=ManualClock()) as spool:
        assert take_over(spool, tmp_path / "old.db") == 6
        check(spool, "/s/a", range(6))


def test_a_spool_in_the_place_of_none_is_renamed(tmp_path: Path) -> None:
    old, new = tmp_path / "sources" / "digits.a.db", tmp_path / "agents" / "digits.db"
    fill(old, "/s/a", range(10))
    inode = old.stat().st_ino
    assert adopt(new, old)
    assert new.stat().st_ino == inode
    assert list(old.parent.iterdir()) == []
    with Spool(new, clock=ManualClock()) as spool:
        check(spool, "/s/a", range(10))
    fill(old, "/s/a", range(10))
    assert not adopt(new, old), "there is one already"


@pytest.mark.disk
def test_a_spool_on_another_volume_is_not_renamed_but_emptied(tmp_path: Path) -> None:
    """In a pod, each folder of the node is a volume of its own."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        old, new = Path(folder) / "agent.db", tmp_path / "agent.db"
        fill(old, "/s/a", range(10))
        assert not adopt(new, old)
        with Spool(new, clock=ManualClock()) as spool:
            assert take_over(spool, old) == 10
            check(spool, "/s/a", range(10))


def test_a_spool_that_another_process_uses_is_left_as_it_is(tmp_path: Path) -> None:
    with Spool(tmp_path / "old.db") as other, Spool(tmp_path / "new.db") as spool:
        other.put(event(1), lanes=("sink",))
        with pytest.raises(SpoolError, match="is still used by another process"):
            take_over(spool, tmp_path / "old.db", wait_s=0.3)
        assert (other.depth(), spool.depth()) == (1, 0)
