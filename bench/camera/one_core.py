"""Measures how many 1080p cameras one core can take: `python -m bench camera_one_core` prints a table.

The agent and its decoders run on the first CPU, the cameras' server and everything else on the others.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from datetime import datetime

from bench.camera.agent import build_source, running
from bench.camera.cameras import CameraServer, serving
from bench.camera.sink import accepting
from bench.camera.video import prepare_video
from bench.function.process import cpu_ms
from bench.local.platform import wait_until
from bench.report.section import build_table

NUMBERS = (8, 16, 20, 24)
SETTLE_S, SECONDS = 5.0, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What some cameras do with one core.

    Attributes:
        cameras: Number of cameras, each of which sends one key frame a second.
        core_percent: CPU time of agent and decoders, in percent of the core.
        frames_percent: Events that arrived, in percent of the key frames.
        delay_ms: Time from capture to the arrival of the event, p50, milliseconds.
        slow_ms: The same, p95, milliseconds.
    """

    cameras: int
    core_percent: float
    frames_percent: float
    delay_ms: float
    slow_ms: float


def measure(server: CameraServer, number: int) -> Row:
    """Measure one number of cameras.

    Args:
        server: Server of at least so many cameras.
        number: Number of cameras.
    """
    every = os.sched_getaffinity(0)
    first = min(every)
    sources = [build_source(name, server.url(name)) for name in server.names[:number]]
    with accepting(keeps=True) as sink:
        os.sched_setaffinity(0, {first})  # the agent inherits it
        with running(sources, sink=sink.url) as agent:
            os.sched_setaffinity(0, (every - {first}) or every)
            wait_until(lambda: len({line.source for line in agent.read_log() if line.is_capture}) == number)
            time.sleep(SETTLE_S)
            pids = [agent.pid, *agent.children]
            began, spent, before = time.monotonic(), sum(map(cpu_ms, pids)), len(sink.arrivals)
            time.sleep(SECONDS)
            passed_s, spent = time.monotonic() - began, sum(map(cpu_ms, pids)) - spent
            arrivals = sink.arrivals[before:]
    os.sched_setaffinity(0, every)
    offset = time.time() - time.monotonic()
    delays = [one.at + offset - datetime.fromisoformat(one.attributes["time"]).timestamp() for one in arrivals]
    return Row(
        cameras=number,
        core_percent=spent / passed_s / 10,
        frames_percent=len(arrivals) / passed_s / number * 100,
        delay_ms=statistics.median(delays) * 1_000,
        slow_ms=statistics.quantiles(delays, n=20)[-1] * 1_000,
    )


def main() -> None:
    """Measure some numbers of cameras, which takes 2 minutes; print the table."""
    with serving(prepare_video(), [f"cam{number}" for number in range(max(NUMBERS))]) as server:
        table = build_table([measure(server, number) for number in NUMBERS])
    for row in (table.heads, *table.rows):
        print(*row, sep="\t", flush=True)
