"""Benchmark of the platform's throughput: events per second that are stored on disk, delivered and acknowledged."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass

from bench.local.latency import disk_ms, warm_up
from bench.local.platform import build_app, run_platform, wait_until
from bench.local.sender import Sender

CONNECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Measurements of the platform's throughput.

    Attributes:
        per_second: Events per second, from the first byte of the first event until the queue is empty.
        accepted_per_second: Events per second, from the first byte of the first event until the last 202.
        cpu_ms: CPU time of the supervisor per event, including its delivery, ms.
        disk_per_second: Number of writes per second of as many bytes to a file, with a sync after each; it shows the
            limit of the disk.
    """

    per_second: float
    accepted_per_second: float
    cpu_ms: float
    disk_per_second: float


def measure(count: int, size_bytes: int, *, connections: int = CONNECTIONS) -> Rate:
    """Send `count` events as fast as the broker accepts them, wait until all are delivered, and return the rates."""
    body = os.urandom(size_bytes)
    disk = disk_ms(size_bytes, runs=100)
    with run_platform(build_app()) as platform:
        warm_up(platform, body)
        before = platform.cpu_ms()
        with closing(Sender(platform.port, "/", body, connections=connections)) as sender:
            began_at = time.monotonic()
            sent = sender.send([f"event-{number}" for number in range(count)])
        wait_until(lambda: platform.depth() == 0, pause_s=0.01)
        ended_at = time.monotonic()
        cpu_ms = platform.cpu_ms() - before
        missing = {one.id for one in sent} - platform.collect().keys()
        assert not missing, f"{len(missing)} events were accepted but didn't arrive"
    return Rate(
        per_second=count / (ended_at - began_at),
        accepted_per_second=count / (sent[-1].answered_at - began_at),
        cpu_ms=cpu_ms / count,
        disk_per_second=1000 / disk,
    )
