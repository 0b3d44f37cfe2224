"""What a durable put costs, beside a bare write and fsync of as many bytes."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.timing import median_ms, print_table
from eaves.events import Event
from eaves.spool import Spool

BODY_BYTES = 100_000
THREADS = 16


def main() -> None:
    """Print it."""
    with tempfile.TemporaryDirectory(dir=".") as folder, Spool(Path(folder) / "spool.db") as spool:
        body, numbers = os.urandom(BODY_BYTES), iter(range(10_000_000))

        def put() -> None:
            spool.put(Event(id=str(next(numbers)), source="/bench", type="bench", data=body))

        with (Path(folder) / "floor").open("ab", buffering=0) as stream:

            def write() -> None:
                stream.write(body)
                os.fsync(stream.fileno())

            one, floor = median_ms(put, runs=200), median_ms(write, runs=200)
        many = _together_ms(put, each=50)
    rows = [("put, 100 KB, one thread (floor: write + fsync)", one, floor)]
    rows.append((f"put, 100 KB, {THREADS} threads", many, floor))
    print_table("spool, per put", rows)


def _together_ms(action: Callable[[], object], *, each: int) -> float:
    def work() -> None:
        for _ in range(each):
            action()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) * 1000 / (each * THREADS)
