"""Benchmark of a function with 1, 2 and 8 connections, compared with a loop that does only the necessary work.

`python -m bench.function.threads ARTIFACT...` prints a table for each artifact. The loop decodes, resizes and runs the
same JPEGs in one process without HTTP, with sessions of each number of threads and with spinning off. Its best time of
one image is the floor of the latency, and its best rate is the floor of the throughput. The loop and the function are
measured alternately, so that drift of the machine affects both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from bench.function.process import FUNCTION, ROOT, Message, environment, first_answer, function_environment, started
from bench.function.start import find_port
from bench.function.warm import find_images
from bench.measure.load import Load, build_requests, send_all
from bench.measure.process import memory_bytes
from bench.measure.timing import print_columns
from eaves.artifact import open_artifact
from eaves.inference.session import open_session

ROUNDS = int(os.environ.get("EAVES_BENCH_ROUNDS", "5"))
TURN_S = 1.5
"""Seconds that one measurement of one round takes at least."""
CONNECTIONS = (1, 2, 8)
SECOND_SESSION_S = 20.0
HEADS = ("floor ms", "1 connection", "ratio", "loop 1/s", "2 connections", "ratio", "8 connections", "ratio", "PSS MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Measurements of one artifact, medians over the rounds.

    Attributes:
        threads: Number of threads of the loop's session with the shortest time of one image.
        floor_ms: That time: decoding, resizing and running one image, ms.
        one_ms: Median time of one request over one connection, ms.
        loop_per_second: Images per second of the loop, with the best numbers of callers and of threads per session.
        two_per_second: Images per second of the function over two connections.
        eight_per_second: Images per second of the function over eight connections.
        proportional_mb: Memory of the function after all requests (PSS), MB.
        sessions: Number of sessions that the function has open at the end.
    """

    threads: int
    floor_ms: float
    one_ms: float
    loop_per_second: float
    two_per_second: float
    eight_per_second: float
    proportional_mb: float
    sessions: int

    def row(self) -> list[float]:
        """Return the values of the columns `HEADS`."""
        floor, rate = self.floor_ms, self.loop_per_second
        two, eight = self.two_per_second, self.eight_per_second
        return [
            floor,
            self.one_ms,
            self.one_ms / floor,
            rate,
            two,
            two / rate,
            eight,
            eight / rate,
            self.proportional_mb,
        ]


def main() -> None:
    """Measure each artifact that is named, and print one table."""
    rows = []
    for name in sys.argv[1:]:
        found = measure_threads(Path(name).absolute(), rounds=ROUNDS)
        label = f"{Path(name).name}, floor of {found.threads} threads, {found.sessions} sessions"
        rows.append([label, *(f"{value:.2f}" for value in found.row())])
    print_columns("function, threads", ["", *HEADS], rows)


def measure_threads(artifact: Path, *, rounds: int, **settings: str) -> Figures:
    """Measure a function and the loop alternately.

    Args:
        artifact: Path of the artifact.
        rounds: Number of rounds, of which the medians are returned.
        settings: Environment variables of the function.
    """
    images = find_images(artifact)
    requests = build_requests([image.read_bytes() for image in images])
    cpus = len(os.sched_getaffinity(0))
    port = find_port()
    environ = function_environment(artifact, port, **settings)
    with _loop(artifact, images) as ask, started(FUNCTION, environ) as process:
        first_answer(process, port, Message(body=images[0].read_bytes()))
        _open_second_session(port, requests)
        lone: dict[int, list[float]] = {}
        rates: dict[tuple[int, int], list[float]] = {}
        loads: dict[int, list[Load]] = {}
        for _ in range(rounds):
            for threads in sorted({1, cpus}):
                times, _ = ask(threads, 1)
                lone.setdefault(threads, []).append(statistics.median(times))
                loads.setdefault(1, []).append(_send(port, requests, 1))
            for threads, callers in ((1, cpus), (1, cpus + 1)):
                rates.setdefault((threads, callers), []).append(ask(threads, callers)[1])
                for connections in CONNECTIONS[1:]:
                    loads.setdefault(connections, []).append(_send(port, requests, connections))
        best = min(lone, key=lambda threads: statistics.median(lone[threads]))
        rate = {
            count: statistics.median(len(one.latencies_ms) / one.seconds for one in loads[count]) for count in loads
        }
        return Figures(
            threads=best,
            floor_ms=statistics.median(lone[best]),
            one_ms=statistics.median(statistics.median(one.latencies_ms) for one in loads[1]),
            loop_per_second=max(map(statistics.median, rates.values())),
            two_per_second=rate[2],
            eight_per_second=rate[8],
            proportional_mb=memory_bytes(process.pid, "Pss") / 1e6,
            sessions=_count_sessions(port),
        )


def serve_loop(artifact: str, *images: str) -> None:
    """Predict images in a loop, as requested on standard input.

    Each line `THREADS CALLERS` runs images in a session of THREADS threads from CALLERS threads for `TURN_S` seconds,
    and prints one line of JSON: the times of the images in ms, and the images per second.
    """
    opened = open_artifact(Path(artifact))
    recipe = opened.manifest.image_recipe
    sessions = {threads: open_session(opened, threads=threads) for threads in {1, len(os.sched_getaffinity(0))}}
    contents = [Path(image).read_bytes() for image in images]
    for session in sessions.values():
        session.answer(recipe.tensor(contents[0])[np.newaxis])
    for line in sys.stdin:
        threads, callers = map(int, line.split())
        times: list[float] = []
        end = time.perf_counter() + TURN_S

        def work(first: int, threads: int = threads, times: list[float] = times, end: float = end) -> None:
            for content in islice(cycle(contents), first, None):
                if (start := time.perf_counter()) >= end:
                    return
                sessions[threads].answer(recipe.tensor(content)[np.newaxis])
                times.append((time.perf_counter() - start) * 1000)

        running = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
        begin = time.perf_counter()
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        print(json.dumps([times, len(times) / (time.perf_counter() - begin)]), flush=True)


def _send(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send requests for about `TURN_S` seconds: as many as fit by a short trial."""
    trial = send_all(port, requests, connections=connections, count=2 * connections)
    count = max(2 * connections, round(TURN_S * 2 * connections / trial.seconds))
    return send_all(port, requests, connections=connections, count=count)


def _open_second_session(port: int, requests: Sequence[bytes]) -> None:
    """Send requests that overlap until the function has opened its second session, or won't."""
    deadline = time.perf_counter() + SECOND_SESSION_S
    while True:
        send_all(port, requests, connections=8, count=16)
        if _count_sessions(port) != 1 or time.perf_counter() > deadline:
            return


def _count_sessions(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next((int(float(line.split()[1])) for line in lines if line.startswith("eaves_sessions ")), 1)


@contextmanager
def _loop(artifact: Path, images: Sequence[Path]) -> Iterator[Callable[[int, int], tuple[Sequence[float], float]]]:
    """Start the loop's process, and yield a function that asks it for one measurement."""
    command = [sys.executable, "-P", "-m", "bench.function.threads", "--loop", str(artifact), *map(str, images)]
    environ = environment(OPENBLAS_NUM_THREADS="1")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(threads: int, callers: int) -> tuple[Sequence[float], float]:
            stdin.write(f"{threads} {callers}\n")
            stdin.flush()
            times, rate = json.loads(stdout.readline())
            return times, rate

        yield ask
        stdin.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        serve_loop(*sys.argv[2:])
    else:
        main()
