"""What an event costs in the file: counted, as seconds say little on a machine that does other things."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from eaves.spool import Spool
from eaves.spool.file import connect
from tests.fakes.clock import FrozenClock
from tests.unit.spool.entries import NOW, image

LANE, OTHER = "trigger/flowers/flowers", "trigger/flowers/alarm"
FEW, MANY = 20, 4_000


class Counted:
    """A spool over connections that count what SQLite does.

    Attributes:
        steps: Instructions of SQLite's virtual machine, those of triggers among them.
        statements: Statements, with their values.
    """

    def __init__(self, path: Path) -> None:
        self.steps = 0
        self.statements: list[str] = []
        self.spool = Spool(path, clock=FrozenClock(NOW), connect=self._connect)

    def _connect(self, path: Path) -> sqlite3.Connection:
        made = connect(path)
        made.set_progress_handler(self._step, 1)
        made.set_trace_callback(self.statements.append)
        return made

    def _step(self) -> int:
        self.steps += 1
        return 0

    def steps_of(self, action: Callable[[], object]) -> int:
        before = self.steps
        action()
        return self.steps - before


def work(counted: Counted, waiting: int) -> dict[str, int]:
    """The steps of everything that an event goes through, while so many wait."""
    spool = counted.spool
    for start in range(0, waiting, 1_000):
        numbers = range(start, min(waiting, start + 1_000))
        spool.put_many([(image(number), (LANE,)) for number in numbers])
        spool.put_dead([(image(waiting + 10 + number), LANE) for number in numbers], "answered 422", 422)
    busy = [entry.seq for entry in spool.peek(LANE, limit=8)]
    first, second, third = spool.peek(LANE, limit=3, exclude=busy)
    actions: dict[str, Callable[[], object]] = {
        "put": lambda: spool.put(image(waiting), lanes=(LANE, OTHER)),
        "peek": lambda: spool.peek(LANE, exclude=busy),
        "peek newest": lambda: spool.peek(LANE, newest_first=True, exclude=busy),
        "peek batch": lambda: spool.peek(LANE, limit=9, max_bytes=10_000),
        "tried": lambda: spool.tried(LANE, 9),
        "retry": lambda: spool.retry(first, NOW + 60, "answered 503"),
        "peek after a retry": lambda: spool.peek(LANE, exclude=busy),
        "ack": lambda: spool.ack(second, puts=[(image(waiting + 1), (OTHER,))]),
        "dead_letter": lambda: spool.dead_letter(third, "answered 422", 422),
        "counts": spool.counts,
        "keep_limits": spool.keep_limits,
    }
    return {name: counted.steps_of(action) for name, action in actions.items()}


def test_an_event_costs_as_many_steps_whether_20_or_4000_wait_and_are_dead(tmp_path: Path):
    few, many = Counted(tmp_path / "few.db"), Counted(tmp_path / "many.db")
    with few.spool, many.spool:
        cheap, dear = work(few, FEW), work(many, MANY)
    assert {name: (cheap[name], steps) for name, steps in dear.items() if steps > cheap[name] * 1.05} == {}
