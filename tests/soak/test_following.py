"""A month of `eaves events --follow` and `eaves logs -f`: each line once, across rotations and restarts, in flat memory.

Both commands run as processes. The date is turned; the pauses between two looks are real, so a day takes under a second.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import KEEP, FileHistory
from eaves.local.processes.logfiles import older_file, rotate
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


@dataclass(kw_only=True)
class Follower:
    """A running view, and what it has printed since the last look at it.

    Attributes:
        view: The process, whose stdout is `file`.
        file: File with what it has printed; emptied at each look, so that a month takes no room.
        memory_kb: Its resident memory at the end of each day.
    """

    view: View
    file: Path
    memory_kb: list[int] = field(default_factory=list)
    _place: int = 0
    _rest: bytes = b""

    def read(self) -> list[str]:
        """Return the whole lines that it has printed since the last call."""
        with self.file.open("rb") as stream:
            stream.seek(self._place)
            content = stream.read()
        self._place += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line.decode() for line in lines]

    def measure(self) -> None:
        """Note its memory."""
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
        self.events = self.lines = 0
        self._clock = clock
        self._history = FileHistory(self.state.history, clock=clock)

    def restart(self) -> None:
        """Close its files and open them again, as `eaves up` that is stopped and started."""
        self._history.close()
        self._history = FileHistory(self.state.history, clock=self._clock)

    def add(self, count: int) -> None:
        """Accept events and write as many lines to the log; rotate it as the supervisor does, every now and then."""
        for number in range(self.events, self.events + count):
            kind = IMAGE_CLASSIFIED if number % 2 else IMAGE_CAPTURED
            self._history.add(Event(id=str(number), source="/eaves/home/flowers", type=kind, subject=f"{number}.jpg"))
        self.events += count
        for _ in range(0, count, 1_000):
            before = older_file(self.log).stat().st_ino if older_file(self.log).exists() else 0
            with self.log.open("a") as stream:
                stream.writelines(f"line {self.lines + number} of a log {'x' * 60}\n" for number in range(1_000))
            self.lines += 1_000
            rotate(self.state.logs, max_bytes=LOG_BYTES)
            after = older_file(self.log).stat().st_ino if older_file(self.log).exists() else 0
            self.rotations += after != before
            yield_to_followers = self.lines  # between two rotations a follower reads, as every quarter of a second
            assert yield_to_followers

    def close(self) -> None:
        self._history.close()


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
