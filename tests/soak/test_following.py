"""A month of `eaves events --follow` and `eaves logs -f`: each line once, in flat memory.

Both commands run as processes, across rotations of the log, restarts of `eaves up` and a history that is set aside. The
date is turned; the pauses between two looks are real, so a day takes less than a second.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory
from eaves.local.processes.logs import older_file, rotate
from eaves.local.state import StateDirectory
from eaves.spool.limits import DAY_S
from tests.fakes.clock import ManualClock
from tests.integration.cli.live.views import View, open_view
from tests.waiting import wait_until

RAM_DISK = Path("/dev/shm")
DAYS = 30
LOG_BYTES = 600_000
"""Bytes of a log in both of its files; a day of the short form writes about a third."""
GROWTH_KB = 4_000
"""Most that a process may grow from the middle of the month to its end, KB."""


class Follower:
    """A running view, and what it has printed.

    Args:
        folder: Folder of the files that it prints to.
        view: The process.
    """

    def __init__(self, folder: Path, view: View) -> None:
        self.view = view
        self.memory_kb: list[int] = []
        self._file = folder / "view.stdout"
        self._place = 0
        self._rest = b""
        self._lines: list[str] = []

    def expect(self, lines: Sequence[str]) -> None:
        """Wait until it has printed so many lines more; they are these."""
        wait_until(lambda: self._read() >= len(lines), 60, what=f"{len(lines)} lines")
        assert self._lines == list(lines)
        self._lines = []

    def expect_ids(self, ids: Sequence[str]) -> None:
        """The same of events: each line ends with the beginning of an id, and names the subject."""
        wait_until(lambda: self._read() >= len(ids), 60, what=f"{len(ids)} events")
        assert [line.split()[-1] for line in self._lines] == [number[:8] for number in ids]
        assert [line.split()[-2] for line in self._lines] == [f"{number}.jpg" for number in ids]
        self._lines = []

    def skip(self) -> int:
        """Forget what it has printed; return the number of lines."""
        count = self._read()
        self._lines = []
        return count

    def skip_to(self, line: str) -> bool:
        """Return whether a line is the last one that it has printed; all before it are forgotten."""
        self._read()
        self._lines = self._lines[-1:]
        found = self._lines == [line]
        if found:
            self._lines = []
        return found

    def _read(self) -> int:
        with self._file.open("rb") as stream:
            stream.seek(self._place)
            content = stream.read()
        self._place += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._lines += [line.decode() for line in lines]
        return len(self._lines)

    def measure(self) -> None:
        """Note its resident memory at the end of a day."""
        status = Path(f"/proc/{self.view.process.pid}/status").read_text()
        self.memory_kb.append(int(status.partition("VmRSS:")[2].split()[0]))

    def find_growth_kb(self) -> int:
        """Return how much larger the second half of the month is than the end of the first."""
        middle = len(self.memory_kb) // 2
        return max(self.memory_kb[middle:]) - self.memory_kb[middle - 1]


class Platform:
    """The files that `eaves up` writes, and its restarts."""

    def __init__(self, root: Path, clock: ManualClock) -> None:
        self.state = StateDirectory(root=root)
        self.state.prepare()
        self.log = self.state.log("flowers")
        self.rotations = 0
        self._events = self._lines = 0
        self._clock = clock
        self._history = FileHistory(self.state.history, clock=clock)

    def restart(self) -> None:
        """Close its files and open them again, as `eaves up` that is stopped and started."""
        self._history.close()
        self._history = FileHistory(self.state.history, clock=self._clock)

    def set_history_aside(self) -> None:
        """Begin an empty history, as `eaves up` does when it finds a damaged one."""
        self._history.close()
        self.state.history.rename(self.state.history.with_suffix(".damaged"))
        self._history = FileHistory(self.state.history, clock=self._clock)

    def add_events(self, count: int) -> list[str]:
        """Accept events; return their ids."""
        ids = [str(number) for number in range(self._events, self._events + count)]
        for number in ids:
            kind = IMAGE_CLASSIFIED if int(number) % 2 else IMAGE_CAPTURED
            self._history.add(Event(id=number, source="/eaves/home/flowers", type=kind, subject=f"{number}.jpg"))
        self._events += count
        return ids

    def write_lines(self, count: int) -> list[str]:
        """Write lines to the log, then rotate it when it is too large, as the supervisor does; return the lines."""
        lines = [f"line {number} of a log {'x' * 60}" for number in range(self._lines, self._lines + count)]
        self._lines += count
        with self.log.open("a") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        before = _find_inode(older_file(self.log))
        rotate(self.state.logs, max_bytes=LOG_BYTES)
        self.rotations += _find_inode(older_file(self.log)) != before
        return lines

    def close(self) -> None:
        self._history.close()


def _find_inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """pytest keeps every record, and would grow."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def ram_disk() -> Iterator[Path]:
    """A folder in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as folder:
        yield Path(folder)


def live_a_month(root: Path, *, days: int, batches: int) -> tuple[Follower, Follower, Platform]:
    """Follow the events and the log of a platform; each day brings `batches` of 2,500 events and 1,500 lines."""
    clock = ManualClock()
    platform = Platform(root / "state", clock)
    words = ("--state", str(platform.state.root), "-n", "0", "--follow")
    with ExitStack() as stack:
        stack.callback(platform.close)
        followers = []
        for command in (("events",), ("logs", "flowers")):
            folder = root / command[0]
            folder.mkdir()
            platform.log.touch()
            followers.append(Follower(folder, stack.enter_context(open_view(folder, *command, *words))))
        events, logs = followers
        wait_until(lambda: "new events appear below" in events.view.stderr, 120, what="the start of `events --follow`")
        _wait_for_first_line(platform, logs)
        for day in range(days):
            for _ in range(batches):
                ids, lines = platform.add_events(2_500), platform.write_lines(1_500)
                events.expect_ids(ids)
                logs.expect(lines)
                clock.turn(DAY_S / batches)
            for one in followers:
                one.measure()
            if day == days // 2:
                platform.set_history_aside()
            elif day % 3 == 2:
                platform.restart()
        for one in followers:
            assert one.view.press_ctrl_c() == 0
            assert one.view.stderr.count("\n") <= 1, one.view.stderr
    return events, logs, platform


def _wait_for_first_line(platform: Platform, logs: Follower) -> None:
    """Write lines until the first one is shown: those that were written before `logs -f` reads are old to it."""

    def is_shown() -> bool:
        platform.write_lines(1)
        return logs.skip() > 0

    wait_until(is_shown, 120, pause_s=0.3, what="the start of `logs -f`")
    last = platform.write_lines(1)[0]
    wait_until(lambda: logs.skip_to(last), 60, what="the last line before the month")


@pytest.mark.timeout(300)
def test_a_month_in_short(ram_disk: Path) -> None:
    _check(*live_a_month(ram_disk, days=DAYS, batches=1))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_month_of_900_000_events(ram_disk: Path) -> None:
    _check(*live_a_month(ram_disk, days=DAYS, batches=12))


def _check(events: Follower, logs: Follower, platform: Platform) -> None:
    assert platform.rotations >= DAYS / 3
    grown = {"events": events.find_growth_kb(), "logs": logs.find_growth_kb()}
    assert max(grown.values()) <= GROWTH_KB, (grown, events.memory_kb, logs.memory_kb)
