"""Benchmark of the time that broker and activator add to a direct POST to the function.

One event is sent at a time: directly, through the activator, and through the broker, alternately.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.local.platform import APP, Running, build_app, run_platform, wait_until
from bench.local.sender import Sender, Sent
from bench.measure.timing import median_ms

PAUSE_S = 0.01
"""Seconds to wait after each event, so that work that it still causes doesn't slow down the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Median times of the three ways to send an event to the function, ms.

    Attributes:
        direct_arrival: Time of a direct POST until the function has the whole event.
        direct_answer: Time of a direct POST until the sender has the response.
        passed_answer: Time of a POST through the activator (`/functions/NAME`) until the sender has the response.
        durable_answer: Time of a POST to the broker until the sender has the 202, which means that the event is on
            disk.
        delivered: Time of a POST to the broker until the function has the whole event.
        disk: Time to write as many bytes to a file and sync it.
        passed_least: Time that the activator adds until the response in the fastest events: the difference of the 10th
            percentiles.
        delivered_least: Time that the broker adds until the function has the event in the fastest events: the
            difference of the 10th percentiles.
    """

    direct_arrival: float
    direct_answer: float
    passed_answer: float
    durable_answer: float
    delivered: float
    disk: float
    passed_least: float
    delivered_least: float


def measure(rounds: int, size_bytes: int) -> Added:
    """Send one event per round in each of three ways (directly, through the activator, through the broker).

    Return the median times of each way.
    """
    body = os.urandom(size_bytes)
    with run_platform(build_app()) as platform:
        warm_up(platform, body)
        with (
            closing(Sender(platform.function_port, "/", body)) as direct,
            closing(Sender(platform.port, f"/functions/{APP}", body)) as passed,
            closing(Sender(platform.port, "/", body)) as broker,
            tempfile.TemporaryFile(dir=platform.state.root) as file,
        ):
            sent: dict[str, list[Sent]] = {"direct": [], "passed": [], "broker": []}
            disk: list[float] = []
            for number in range(rounds):
                for name, sender in (("direct", direct), ("passed", passed), ("broker", broker)):
                    sent[name] += sender.send([f"{name}-{number}"])
                    time.sleep(PAUSE_S)
                disk.append(_write_ms(file.fileno(), body))
        wait_until(lambda: len(platform.collect()) >= 3 * rounds)
        return Added(
            direct_arrival=_arrival_ms(sent["direct"], platform),
            direct_answer=_answer_ms(sent["direct"]),
            passed_answer=_answer_ms(sent["passed"]),
            durable_answer=_answer_ms(sent["broker"]),
            delivered=_arrival_ms(sent["broker"], platform),
            disk=statistics.median(disk),
            passed_least=_least(_answers_ms(sent["passed"])) - _least(_answers_ms(sent["direct"])),
            delivered_least=_least(_arrivals_ms(sent["broker"], platform))
            - _least(_arrivals_ms(sent["direct"], platform)),
        )


def warm_up(platform: Running, body: bytes) -> None:
    """Send events until the function runs, connections are open and caches are filled, so that measuring can begin."""
    with closing(Sender(platform.port, f"/functions/{APP}", body)) as passed:
        passed.send(["first"])  # the response comes when the function runs
    with closing(Sender(platform.port, "/", body)) as broker:
        broker.send([f"warm-{number}" for number in range(20)])
        wait_until(lambda: "warm-19" in platform.collect())


def disk_ms(size_bytes: int, *, runs: int) -> float:
    """Return the median time to append this many bytes to a file in the working directory and sync it, ms."""
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        body = os.urandom(size_bytes)
        return median_ms(lambda: _write_ms(file.fileno(), body), runs=runs)


def _write_ms(handle: int, body: bytes) -> float:
    began_at = time.monotonic()
    os.write(handle, body)
    os.fdatasync(handle)
    return (time.monotonic() - began_at) * 1000


def _answer_ms(sent: Sequence[Sent]) -> float:
    return statistics.median(_answers_ms(sent))


def _arrival_ms(sent: Sequence[Sent], platform: Running) -> float:
    return statistics.median(_arrivals_ms(sent, platform))


def _answers_ms(sent: Sequence[Sent]) -> list[float]:
    return [(one.answered_at - one.began_at) * 1000 for one in sent]


def _arrivals_ms(sent: Sequence[Sent], platform: Running) -> list[float]:
    return [(platform.received[one.id] - one.began_at) * 1000 for one in sent]


def _least(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=10)[0]
