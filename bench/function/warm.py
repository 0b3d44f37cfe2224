"""Benchmark of a warm function over HTTP, compared with a loop that does only the necessary work.

`python -m bench function_warm` measures the latency over one connection and the throughput over eight. It uses the
artifacts that EAVES_BENCH_ARTIFACT names (separated by colons; default: the newest one of `make demo`) and the JPEGs
below EAVES_BENCH_IMAGES (default: the artifact's golden images). The loop decodes, resizes and runs images in a process
of its own, without HTTP. The loop and the function are measured alternately, so that drift of the machine affects both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from bench.measure.load import build_requests, send_all
from bench.measure.timing import print_columns
from eaves.artifact import open_artifact
from eaves.inference.session import open_session

ROUNDS = int(os.environ.get("EAVES_BENCH_ROUNDS", "7"))
IMAGES = 40
TURN = 4
CONNECTIONS = 8
ENVIRON = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looped:
    """Measurements of the loop, which predicts images without HTTP.

    Attributes:
        durations_ms: Time of each image, ms.
        per_second: Images per second.
        cpu_ms: CPU time per image, ms.
    """

    durations_ms: Sequence[float]
    per_second: float
    cpu_ms: float


HEADS = (
    "loop ms",
    "1 connection",
    "ratio",
    "loop 1/s",
    "8 connections",
    "ratio",
    "loop CPU ms",
    "function",
    "ratio",
    "sender",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Measurements of one round, in which the loop and the function predict the same images alternately.

    Attributes:
        loop_ms: Time of each image in the loop with one thread, ms.
        one_ms: Time of each image through the function over one connection, ms.
        loop_per_second: Images per second of the loop, with the number of threads that gives the higher rate.
        eight_per_second: Images per second through the function over eight connections.
        loop_cpu_ms: CPU time per image of the loop at `loop_per_second`, ms.
        function_cpu_ms: CPU time per image of the function over eight connections, ms.
        sender_cpu_ms: CPU time per image of the load generator, which runs on the same CPUs as the function, ms.
    """

    loop_ms: Sequence[float]
    one_ms: Sequence[float]
    loop_per_second: float
    eight_per_second: float
    loop_cpu_ms: float
    function_cpu_ms: float
    sender_cpu_ms: float

    def row(self) -> list[float]:
        loop, one = statistics.median(self.loop_ms), statistics.median(self.one_ms)
        rates = [self.loop_per_second, self.eight_per_second, self.eight_per_second / self.loop_per_second]
        cpu = [self.loop_cpu_ms, self.function_cpu_ms, self.function_cpu_ms / self.loop_cpu_ms]
        return [loop, one, one / loop, *rates, *cpu, self.sender_cpu_ms]


def main() -> None:
    """Measure each artifact, and print one table for it."""
    made = sorted(Path("build/demo/artifacts").glob("*/manifest.json"))
    chosen = os.environ.get("EAVES_BENCH_ARTIFACT") or (str(made[-1].parent) if made else "")
    if not chosen:
        print("\nfunction_warm: no artifact; run `make demo` first, or set EAVES_BENCH_ARTIFACT")
        return
    for path in chosen.split(":"):
        _measure(Path(path).absolute())


def _measure(path: Path) -> None:
    images = find_images(path)
    requests = build_requests([image.read_bytes() for image in images])
    cpus = len(os.sched_getaffinity(0))
    with _loop(path, images) as loop, _function(path) as (port, pid):
        send_all(port, requests, connections=CONNECTIONS, count=2 * CONNECTIONS)
        rounds = [_measure_round(loop, port, pid, requests, cpus) for _ in range(ROUNDS)]
    rows = [one.row() for one in rounds]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    names = [*(f"round {number}" for number in range(1, len(rows) + 1)), "median", "least disturbed"]
    cells = [
        [name, *(f"{value:.3f}" for value in row)]
        for name, row in zip(names, [*rows, medians, _least_disturbed(rounds).row()], strict=True)
    ]
    print_columns(f"function, warm: {path}", ["", *HEADS], cells)


def _measure_round(loop: subprocess.Popen[str], port: int, pid: int, requests: Sequence[bytes], cpus: int) -> Round:
    alone, one = [], []
    for start in range(0, len(requests), TURN):
        count = min(TURN, len(requests) - start)
        alone += _ask(loop, 1, count, start=start).durations_ms
        one += send_all(port, requests[start:], connections=1, count=count).latencies_ms
    count = 2 * IMAGES
    best = max((_ask(loop, threads, count) for threads in (cpus, cpus + 1)), key=lambda one: one.per_second)
    before = _cpu_s(pid)
    eight = send_all(port, requests, connections=CONNECTIONS, count=count)
    return Round(
        loop_ms=alone,
        one_ms=one,
        loop_per_second=best.per_second,
        eight_per_second=count / eight.seconds,
        loop_cpu_ms=best.cpu_ms,
        function_cpu_ms=(_cpu_s(pid) - before) * 1000 / count,
        sender_cpu_ms=eight.cpu_ms,
    )


def _least_disturbed(rounds: Sequence[Round]) -> Round:
    """Return the shortest time of each image and the best value of each other figure over all rounds.

    These values approximate the performance on a machine where no other program runs.
    """
    return Round(
        loop_ms=[min(times) for times in zip(*(one.loop_ms for one in rounds), strict=True)],
        one_ms=[min(times) for times in zip(*(one.one_ms for one in rounds), strict=True)],
        loop_per_second=max(one.loop_per_second for one in rounds),
        eight_per_second=max(one.eight_per_second for one in rounds),
        loop_cpu_ms=min(one.loop_cpu_ms for one in rounds),
        function_cpu_ms=min(one.function_cpu_ms for one in rounds),
        sender_cpu_ms=min(one.sender_cpu_ms for one in rounds),
    )


def find_images(artifact: Path) -> list[Path]:
    """Return the paths of the photos to send, evenly chosen from EAVES_BENCH_IMAGES or the artifact's golden images."""
    folder = os.environ.get("EAVES_BENCH_IMAGES")
    found = sorted(Path(folder).rglob("*.jpg")) if folder else sorted((artifact / "golden").glob("*.[jp]*g"))
    step = max(1, len(found) // IMAGES)
    return found[::step][:IMAGES]


def _cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used so far, seconds.

    Source: Linux, include/linux/posix-timers_types.h, MAKE_PROCESS_CPUCLOCK.
    """
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def _function(artifact: Path) -> Iterator[tuple[int, int]]:
    """Start a function that serves the artifact, yield its port and process id, and end it after the `with` block."""
    command = [sys.executable, "-P", "-m", "functions", "--artifact", str(artifact), "--host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True, env=ENVIRON)
    try:
        assert process.stderr is not None
        messages: list[str] = []
        while not (_find_message(messages, "listening on") and _find_message(messages, "ready")):
            messages.append(json.loads(process.stderr.readline())["message"])
        port = int(_find_message(messages, "listening on").rpartition(":")[2])
        threading.Thread(target=process.stderr.read, daemon=True).start()  # otherwise its log would fill the pipe
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _find_message(messages: Sequence[str], start: str) -> str:
    return next((message for message in messages if message.startswith(start)), "")


@contextmanager
def _loop(artifact: Path, images: Sequence[Path]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "bench.function.warm", str(artifact), *map(str, images)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**ENVIRON, "PYTHONPATH": str(Path.cwd())},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _ask(loop: subprocess.Popen[str], threads: int, count: int, *, start: int = 0) -> Looped:
    assert loop.stdin is not None
    assert loop.stdout is not None
    loop.stdin.write(f"{threads} {start} {count}\n")
    loop.stdin.flush()
    return Looped(**json.loads(loop.stdout.readline()))


def serve_loop(artifact: str, *images: str) -> None:
    """Predict images in a loop, as requested on standard input.

    Each line `THREADS START COUNT` predicts COUNT images, beginning with image START, and prints one line of JSON with
    the measurements.
    """
    opened = open_artifact(Path(artifact))
    session, recipe = open_session(opened), opened.manifest.recipe
    contents = [Path(image).read_bytes() for image in images]
    durations: list[float] = []

    def work(following: Iterator[bytes]) -> None:
        for content in following:
            start = time.perf_counter()
            session.run(recipe.tensor(content)[np.newaxis])
            durations.append((time.perf_counter() - start) * 1000)

    work(iter(contents[:5]))
    for line in sys.stdin:
        threads, first, count = map(int, line.split())
        durations.clear()
        following = iter(list(islice(cycle(contents[first:]), count)))  # threads may share a list's iterator
        running = [threading.Thread(target=work, args=(following,)) for _ in range(threads)]
        start, cpu = time.perf_counter(), time.process_time()
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
        looped = Looped(durations_ms=durations, per_second=count / seconds, cpu_ms=cpu_s * 1000 / count)
        print(json.dumps(asdict(looped)), flush=True)


if __name__ == "__main__":
    serve_loop(*sys.argv[1:])
