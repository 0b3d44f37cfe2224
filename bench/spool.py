"""Benchmark of storing an event durably in a spool, compared with a write and fsync of as many bytes to a file."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.measure.timing import median_ms, print_table
from eaves.events import Event
from eaves.spool import LedgerLimits, Spool

BODY_BYTES = 100_000
THREADS = 16
PREDICTION_BYTES, BATCH, BATCHES = 600, 500, 20


def main() -> None:
    """Measure how long it takes to put an event into a spool, and print the table."""
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
    _print_batches()


def _print_batches() -> None:
    """Print the time per event of storing and of removing events in batches of 500, compared with one event at a time.

    Both are measured with a ledger and without one.
    """
    rows = []
    for ledger, name in ((None, "without a ledger"), (LedgerLimits(), "with a ledger")):
        single, batch = _relay_ms(1, 300, ledger), _relay_ms(BATCH, BATCHES, ledger)
        rows += [(f"{what}, batches of {BATCH}, {name}", batch[what], single[what]) for what in batch]
    print_table("spool, per event of 600 bytes (floor: one at a time)", rows)


def _relay_ms(size: int, rounds: int, ledger: LedgerLimits | None) -> dict[str, float]:
    """Return the time per event, ms, of storing and of removing events as a relay does, in batches of `size` events.

    The keys of the result are `put` for storing, and `peek and ack` for reading and removing.
    """
    with tempfile.TemporaryDirectory(dir=".") as folder, Spool(Path(folder) / "spool.db", ledger=ledger) as spool:
        numbers, data = iter(range(10_000_000)), os.urandom(PREDICTION_BYTES)

        def put() -> None:
            events = [Event(id=str(next(numbers)), source="/bench", type="bench", data=data) for _ in range(size)]
            spool.put_many([(event, ("out",)) for event in events], once=True)

        def drain() -> None:
            spool.ack_many(spool.peek_batch("out", now=time.time(), max_events=size, max_bytes=2_000_000))

        found = {"put": median_ms(put, runs=rounds), "peek and ack": median_ms(drain, runs=rounds - 1)}
    return {what: duration_ms / size for what, duration_ms in found.items()}


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
