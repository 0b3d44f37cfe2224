"""Puts and releases of several threads that share one commit."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eaves.errors import SpoolError, SpoolFullError
from eaves.spool import Spool, SpoolLimits
from tests.unit.spool.entries import image
from tests.waiting import wait_until


class Gate:
    """Connections that count commits, hold the first after `close` until others wait behind it, and can run full."""

    def __init__(self) -> None:
        self.commits = 0
        self.full_from: int | None = None
        self._hold: Callable[[], object] | None = None

    def close(self, spool: Spool, *, until_waiting: int) -> None:
        self.commits = 0
        self._hold = lambda: wait_until(lambda: len(spool.database()._pending) == until_waiting)

    def connect(self, path: Path) -> sqlite3.Connection:
        gate = self

        class Gated(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    gate._before_commit()
                return super().execute(sql, parameters)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Gated)

    def _before_commit(self) -> None:
        self.commits += 1
        hold, self._hold = self._hold, None
        if hold is not None:
            hold()
        if self.full_from is not None and self.commits >= self.full_from:
            raise sqlite3.OperationalError("database or disk is full")


def run_together(actions: Sequence[Callable[[], object]]) -> list[object]:
    """What each returned or raised, run in a thread each."""
    results: list[object] = [None] * len(actions)

    def run(number: int) -> None:
        try:
            results[number] = actions[number]()
        except SpoolError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def put_together(spool: Spool, sizes: list[int]) -> list[object]:
    return run_together([partial(spool.put, image(number, size)) for number, size in enumerate(sizes)])


def test_puts_of_many_threads_share_a_commit(path: Path):
    gate = Gate()
    with Spool(path, connect=gate.connect) as spool:
        gate.close(spool, until_waiting=7)
        assert put_together(spool, [10] * 8) == [True] * 8
        assert gate.commits == 2
        assert spool.depth() == 8


def test_one_refused_put_does_not_fail_those_it_shares_a_commit_with(path: Path):
    gate = Gate()
    with Spool(path, limits=SpoolLimits(max_bytes=10_000), connect=gate.connect) as spool:
        gate.close(spool, until_waiting=3)
        results = put_together(spool, [100, 100, 100, 20_000])
        assert results[:3] == [True] * 3
        assert isinstance(results[3], SpoolFullError)
        assert gate.commits == 2
        assert spool.depth() == 3


def test_a_failed_commit_fails_every_put_that_shares_it(path: Path):
    gate = Gate()
    with Spool(path, connect=gate.connect) as spool:
        gate.close(spool, until_waiting=3)
        gate.full_from = 2
        results = put_together(spool, [10] * 4)
        assert results.count(True) == 1
        assert [str(result) for result in results if result is not True] == [
            f"spool {path}: database or disk is full"
        ] * 3
        assert (spool.depth(), gate.commits) == (1, 2)
        gate.full_from = None
        assert spool.put(image(4))
