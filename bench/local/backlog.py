"""Benchmark of a platform with many waiting events.

It measures how fast new events are handled while many events wait for an address that doesn't answer, and how fast many
waiting events are delivered.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial

from bench.local.latency import PAUSE_S, warm_up
from bench.local.platform import APP, Running, build_app, run_platform, wait_until
from bench.local.sender import SOURCE, TYPE, Sender, Sent
from bench.measure.process import memory_bytes
from eaves.events import Event
from eaves.local.broker import lane_of
from eaves.local.state import StateDirectory
from eaves.platform import TriggerSpec
from eaves.spool import Spool
from tests.ports import find_port

COLD = "cold"
"""Name of a trigger whose URL has no server, so that its events stay in the queue."""
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Measurements of new events on a platform with a given number of waiting events.

    Two platforms with different numbers are measured alternately.

    Attributes:
        waiting: Number of events that waited in the queue at the start.
        answer_ms: Median time until the broker answers 202, ms. Each new event joins the waiting events, and is also
            delivered to the function at once.
        delivered_ms: Median time until the function has the whole event, ms.
        halves: Ratio of the medians of `delivered_ms` in the two halves of the measurement, larger by smaller; it shows
            the noise.
        cpu_ms: CPU time of the supervisor per new event, ms.
        resident_mb: Memory of the supervisor after the measurement (RSS), MB.
    """

    waiting: int
    answer_ms: float
    delivered_ms: float
    halves: float
    cpu_ms: float
    resident_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Measurements of the delivery of events that waited when the platform started.

    Attributes:
        waiting: Number of waiting events at the start.
        first_per_second: Events delivered per second among the first ones.
        last_per_second: Events delivered per second among the last ones, of which there are as many.
        grown_mb: Growth of the supervisor's memory from the end of the first part to the start of the last part, MB.
    """

    waiting: int
    first_per_second: float
    last_per_second: float
    grown_mb: float


def measure_beside(sizes: Sequence[int], rounds: int, size_bytes: int) -> list[Beside]:
    """Start one platform for each number of waiting events in `sizes`, and measure how fast new events are delivered.

    The new events are sent to the platforms alternately, one to each in every round.
    """
    body = os.urandom(size_bytes)
    with ExitStack() as opened:
        platforms: list[Running] = []
        senders: list[Sender] = []
        for waiting in sizes:
            platform = opened.enter_context(_start(waiting, COLD))
            warm_up(platform, body)
            platforms.append(platform)
            senders.append(opened.enter_context(closing(Sender(platform.port, "/", body))))
        sent: list[list[Sent]] = [[] for _ in sizes]
        cpu_ms = [-platform.cpu_ms() for platform in platforms]
        for number in range(rounds):
            for found, sender in zip(sent, senders, strict=True):
                found.extend(sender.send([f"event-{number}"]))
                time.sleep(PAUSE_S)
        for platform in platforms:
            wait_until(partial(_has, platform, f"event-{rounds - 1}"))
        return [
            _sum_up(waiting, platform, found, before + platform.cpu_ms())
            for waiting, platform, found, before in zip(sizes, platforms, sent, cpu_ms, strict=True)
        ]


def _sum_up(waiting: int, platform: Running, sent: Sequence[Sent], cpu_ms: float) -> Beside:
    delivered = [(platform.received[one.id] - one.began_at) * 1000 for one in sent]
    halves = [statistics.median(part) for part in (delivered[: len(sent) // 2], delivered[len(sent) // 2 :])]
    return Beside(
        waiting=waiting,
        answer_ms=statistics.median(one.answered_at - one.began_at for one in sent) * 1000,
        delivered_ms=statistics.median(delivered),
        halves=max(halves) / min(halves),
        cpu_ms=cpu_ms / len(sent),
        resident_mb=memory_bytes(platform.pid, "Rss") / 1e6,
    )


def measure_drain(waiting: int, size_bytes: int, *, part: int) -> Drain:
    """Start a platform with this many waiting events for its function, and measure their delivery.

    `part` is the number of events whose rate is measured at the beginning and at the end.
    """
    with _start(waiting, APP, size_bytes=size_bytes) as platform:
        resident = list(_watch(platform, waiting, part))
    times = sorted(platform.received.values())
    return Drain(
        waiting=waiting,
        first_per_second=(part - 1) / (times[part - 1] - times[0]),
        last_per_second=(part - 1) / (times[-1] - times[-part]),
        grown_mb=(resident[1] - resident[0]) / 1e6,
    )


def _watch(platform: Running, waiting: int, part: int) -> Iterator[int]:
    """Yield the supervisor's memory (RSS, bytes) three times while the platform delivers its waiting events.

    The times are: the first `part` events are delivered; only `part` events are left; none is left.
    """
    wait_until(lambda: platform.function_pid)
    for left in (waiting - part, part, 0):
        wait_until(partial(_is_down_to, platform, left), pause_s=0.1, timeout_s=1800)
        yield memory_bytes(platform.pid, "Rss")
    platform.collect()


def _has(platform: Running, name: str) -> bool:
    return name in platform.collect()


def _is_down_to(platform: Running, left: int) -> bool:
    return platform.depth() <= left


def _start(waiting: int, trigger: str, *, size_bytes: int = 1_000) -> AbstractContextManager[Running]:
    """Return a context manager that runs a platform with this many waiting events for a trigger."""

    def fill(state: StateDirectory) -> None:
        with Spool(state.spool) as spool:
            data, lanes = os.urandom(size_bytes), (lane_of(APP, trigger),)
            for start in range(0, waiting, BATCH):
                numbers = range(start, min(waiting, start + BATCH))
                spool.put_many([(Event(id=f"old-{n}", source=SOURCE, type=TYPE, data=data), lanes) for n in numbers])

    cold = TriggerSpec(name=COLD, filter={"type": TYPE}, url=f"http://127.0.0.1:{find_port()}/")
    return run_platform(build_app(*([cold] if trigger == COLD else [])), fill)
