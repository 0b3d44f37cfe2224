"""Measures the local platform with functions that do no work, and compares the results with the required limits."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator

from bench.local import backlog, idle, latency, throughput
from bench.material import Setup
from bench.report.section import Figure, Section, Table

IMAGE_BYTES, SMALL_BYTES = 100_000, 1_000
ADDED_MS, RATE, IDLE_PERCENT = 5.0, 300.0, 1.0
FLAT, GROWN_MB = 1.15, 20.0
"""Limits below which a difference counts as noise of other programs: two medians count as equal up to the ratio FLAT,
and memory that grows by at most GROWN_MB megabytes counts as constant."""
FEW = 100


def measure(setup: Setup) -> Section:
    """Measure all parts, and return the section: the figures, and a table of them with what each is compared with."""
    parts: tuple[Callable[[bool], Iterator[Figure]], ...] = (measure_latency, measure_rate, measure_queue, measure_idle)
    found = []
    for part in parts:
        for figure in part(setup.is_quick):
            print(f"{figure.name}: {figure.render_value()} ({figure.measured})", file=sys.stderr, flush=True)
            found.append(figure)
    rows = tuple((one.name, one.render_value(), one.render_bar(), one.measured) for one in found)
    table = Table(heads=("", "measured", "bar", "beside"), rows=rows)
    return Section(figures=tuple(found), tables=(table,))


def measure_latency(is_quick: bool) -> Iterator[Figure]:
    """Measure the time that activator and broker add to a direct POST to the function."""
    runs = [latency.measure(60 if is_quick else 300, IMAGE_BYTES) for _ in range(1 if is_quick else 3)]

    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in runs))

    passed = statistics.median(one.passed_answer - one.direct_answer for one in runs)
    delivered = statistics.median(one.delivered - one.direct_arrival for one in runs)
    yield Figure(
        name="the activator adds to a direct POST, p50 (100 KB)",
        value=passed,
        unit="ms",
        bar=ADDED_MS,
        measured=f"direct POST {median('direct_answer'):.2f} ms; least disturbed tenth {median('passed_least'):.2f} ms",
    )
    against = f"direct POST {median('direct_arrival'):.2f} ms, disk {median('disk'):.2f} ms"
    yield Figure(
        name="broker and activator add until the function has it, p50 (100 KB)",
        value=delivered,
        unit="ms",
        bar=ADDED_MS,
        measured=f"{against}; least disturbed tenth {median('delivered_least'):.2f} ms",
    )
    text = f"disk {median('disk'):.2f} ms"
    name = "the broker's 202, when the event is on disk, p50 (100 KB)"
    yield Figure(name=name, value=median("durable_answer"), unit="ms", measured=text)


def measure_rate(is_quick: bool) -> Iterator[Figure]:
    """Measure how many events per second are accepted, delivered and acknowledged."""
    for size_bytes, name in ((IMAGE_BYTES, "100 KB"), (SMALL_BYTES, "1 KB")):
        count = 300 if is_quick else 2_000
        runs = [throughput.measure(count, size_bytes) for _ in range(1 if is_quick else 3)]
        disk = statistics.median(one.disk_per_second for one in runs)
        cpu = statistics.median(one.cpu_ms for one in runs)
        yield Figure(
            name=f"accepted durably, delivered, acknowledged ({name})",
            value=statistics.median(one.per_second for one in runs),
            unit="/s",
            bar=min(RATE, round(disk)),
            is_minimum=True,
            measured=f"the disk alone {disk:.0f}/s; the platform's CPU time {cpu:.2f} ms an event",
        )


def measure_queue(is_quick: bool) -> Iterator[Figure]:
    """Measure whether a long queue makes the platform slower; the values are ratios to a short queue."""
    many = 5_000 if is_quick else 50_000
    small, large = backlog.measure_beside((FEW, many), 60 if is_quick else 300, IMAGE_BYTES)
    noise = round(max(FLAT, small.halves, large.halves), 2)
    for name, before, after in (
        ("until the 202", small.answer_ms, large.answer_ms),
        ("until the function has it", small.delivered_ms, large.delivered_ms),
        ("the platform's CPU time", small.cpu_ms, large.cpu_ms),
    ):
        text = f"{after:.2f} ms, and {before:.2f} ms while {FEW} wait"
        what = f"an event while {many:,} wait, {name}, p50, of that while {FEW} wait"
        yield Figure(name=what, value=after / before, bar=noise, measured=text, is_headline=False)
    yield Figure(
        name=f"memory that {many:,} waiting events add",
        value=large.resident_mb - small.resident_mb,
        unit="MB",
        bar=GROWN_MB,
        is_headline=False,
        measured=f"{large.resident_mb:.1f} MB, and {small.resident_mb:.1f} MB while {FEW} wait",
    )
    drain = backlog.measure_drain(many, SMALL_BYTES, part=many // 20)
    yield Figure(
        name=f"delivery of {many:,} that waited (1 KB), rate of the first 5 % of that of the last",
        value=drain.first_per_second / drain.last_per_second,
        bar=round(1 / noise, 2),
        is_headline=False,
        is_minimum=True,
        measured=f"{drain.first_per_second:.0f}/s and {drain.last_per_second:.0f}/s; memory {drain.grown_mb:+.1f} MB",
    )


def measure_idle(is_quick: bool) -> Iterator[Figure]:
    """Measure CPU time, wake-ups and memory of a platform that has nothing to do."""
    seconds = 10 if is_quick else 30
    for one in idle.measure(seconds):
        yield Figure(
            name=f"at rest for {seconds} s, {one.replicas} warm replicas, {one.processes} processes, of a core",
            value=one.core_percent,
            unit="%",
            bar=IDLE_PERCENT,
            measured=f"{one.switches_per_second:.0f} wake-ups a second of all threads; {one.together_mb:.0f} MB (PSS)",
        )
