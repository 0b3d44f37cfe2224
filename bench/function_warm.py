"""A warm function over HTTP beside the same work in a loop: latency of one connection, throughput of eight.

`python -m bench function_warm`, for the artifacts in EAVES_BENCH_ARTIFACT (separated by colons; or the demo's newest)
and the JPEGs below EAVES_BENCH_IMAGES (or the artifact's golden images). The loop (decode, resize, run, nothing else)
has a process of its own; it and the function take turns, round by round, so that drift of the machine hits both.
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

from bench.load import build_requests, send_all
from bench.timing import print_columns
from eaves.artifact import open_artifact
from functions.session import open_session

ROUNDS = int(os.environ.get("EAVES_BENCH_ROUNDS", "7"))
IMAGES = 40
TURN = 4
CONNECTIONS = 8
ENVIRON = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looped:
    """What a loop over images took.

    Attributes:
        durations_ms: Of each image.
        per_second: Images.
        cpu_ms: Processor time per image.
    """

    durations_ms: Sequence[float]
    per_second: float
    cpu_ms: float


def main() -> None:
    """Print it."""
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
    rows: list[list[float]] = []
    with _loop(path, images) as loop, _function(path) as (port, pid):
        send_all(port, requests, connections=cpus, count=10)
        for _ in range(ROUNDS):
            alone, one = _compare_latency(loop, port, requests)
            best = max((_ask(loop, threads, IMAGES) for threads in range(1, cpus + 2)), key=lambda one: one.per_second)
            before = _cpu_s(pid)
            eight = send_all(port, requests, connections=CONNECTIONS, count=IMAGES)
            cpu_ms = (_cpu_s(pid) - before) * 1000 / IMAGES
            rate = IMAGES / eight.seconds
            ratios = (one / alone, rate / best.per_second, cpu_ms / best.cpu_ms)
            rows.append(
                [alone, one, ratios[0], best.per_second, rate, ratios[1], best.cpu_ms, cpu_ms, ratios[2], eight.cpu_ms]
            )
    _print(path, rows)


def _compare_latency(loop: subprocess.Popen[str], port: int, requests: Sequence[bytes]) -> tuple[float, float]:
    """Medians of one image at a time, in the loop and over one connection, ms; a few of each in turn."""
    alone, one = [], []
    for start in range(0, IMAGES, TURN):
        alone += _ask(loop, 1, TURN, start=start).durations_ms
        one += send_all(port, requests[start:], connections=1, count=TURN).latencies_ms
    return statistics.median(alone), statistics.median(one)


def _print(path: Path, rows: Sequence[Sequence[float]]) -> None:
    heads = [
        "loop p50 ms",
        "1 connection",
        "ratio",
        "loop, best 1/s",
        "8 connections",
        "ratio",
        "loop CPU ms",
        "function",
        "ratio",
        "sender",
    ]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    names = [*(f"round {number}" for number in range(1, len(rows) + 1)), "median"]
    told = [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(names, [*rows, medians], strict=True)]
    print_columns(f"function, warm: {path}", ["", *heads], told)


def find_images(artifact: Path) -> list[Path]:
    """The photos to send."""
    folder = os.environ.get("EAVES_BENCH_IMAGES")
    found = sorted(Path(folder).rglob("*.jpg")) if folder else sorted((artifact / "golden").glob("*.[jp]*g"))
    step = max(1, len(found) // IMAGES)
    return found[::step][:IMAGES]


def _cpu_s(pid: int) -> float:
    """Processor time of a process. Source: Linux, include/linux/posix-timers_types.h, MAKE_PROCESS_CPUCLOCK."""
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def _function(artifact: Path) -> Iterator[tuple[int, int]]:
    """A function process: its port and its pid."""
    command = [sys.executable, "-P", "-m", "functions", "--artifact", str(artifact), "--host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True, env=ENVIRON)
    try:
        assert process.stderr is not None
        messages: list[str] = []
        while not (_said(messages, "listening on") and _said(messages, "ready")):
            messages.append(json.loads(process.stderr.readline())["message"])
        port = int(_said(messages, "listening on").rpartition(":")[2])
        threading.Thread(target=process.stderr.read, daemon=True).start()  # else its log would fill the pipe
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _said(messages: Sequence[str], start: str) -> str:
    return next((message for message in messages if message.startswith(start)), "")


@contextmanager
def _loop(artifact: Path, images: Sequence[Path]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "bench.function_warm", str(artifact), *map(str, images)]
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
    """The floor: for each line THREADS START COUNT on stdin that many images, and one line of JSON."""
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
        following = iter(list(islice(cycle(contents[first:]), count)))  # a list's iterator may be shared by threads
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
