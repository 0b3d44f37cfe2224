"""Measures the local platform and compares the results with the required limits: `python -m bench.local`.

With `--quick` it takes about a minute, without it about ten.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator

from bench.local import backlog, idle, latency, report, start, throughput
from bench.local.report import Figure, read_load

IMAGE_BYTES, SMALL_BYTES = 100_000, 1_000
ADDED_MS, RATE, IDLE_PERCENT = 5.0, 300.0, 1.0
START_RATIO = 0.7
FLAT, GROWN_MB = 1.15, 20.0
"""Limits below which a difference counts as noise of other programs: two medians count as equal up to the ratio FLAT,
and memory that grows by at most GROWN_MB megabytes counts as constant."""
PARTS = ("latency", "rate", "queue", "idle", "start")


def main() -> None:
    """Run the requested parts of the benchmark and print their results; with `--page`, also write the page."""
    options = parse_arguments()
    parts: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
        "latency": measure_latency,
        "rate": measure_rate,
        "queue": measure_queue,
        "idle": measure_idle,
        "start": measure_start,
    }
    for name in options.parts.split(","):
        if name not in parts:
            sys.exit(f"error: there is no part {name!r}\ntry: some of {','.join(PARTS)}")
        found = []
        for one in parts[name](options):
            report.print_figures([one])
            found.append(one)
        if options.page:
            report.keep(name, found)
            print(f"written: {report.write_page(PARTS, 'make bench-local')}")


def measure_latency(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the time that activator and broker add to a direct POST to the function."""
    runs = [latency.measure(60 if options.quick else 300, IMAGE_BYTES) for _ in range(1 if options.quick else 5)]
    passed = [one.passed_answer - one.direct_answer for one in runs]
    delivered = [one.delivered - one.direct_arrival for one in runs]
    direct, disk = (
        statistics.median(values) for values in zip(*((r.direct_answer, r.disk) for r in runs), strict=True)
    )
    arrival = statistics.median(one.direct_arrival for one in runs)
    least = (
        statistics.median(one.passed_least for one in runs),
        statistics.median(one.delivered_least for one in runs),
    )
    for promise, added, against in (
        (
            "the activator adds to a direct POST, p50 (100 KB)",
            passed,
            f"direct POST {direct:.2f} ms; in the least disturbed tenth {least[0]:.2f} ms",
        ),
        (
            "broker and activator add until the function has it, p50 (100 KB)",
            delivered,
            f"direct POST {arrival:.2f} ms, disk {disk:.2f} ms; in the least disturbed tenth {least[1]:.2f} ms",
        ),
    ):
        middle = statistics.median(added)
        text = f"{middle:.2f} ms ({min(added):.2f} to {max(added):.2f})"
        yield figure(promise, f"{ADDED_MS:g} ms", text, against, is_kept=middle <= ADDED_MS)
    answer = statistics.median(one.durable_answer for one in runs)
    text = f"disk {disk:.2f} ms, ratio {answer / disk:.2f}"
    yield figure("the broker's 202: the event is on disk, p50 (100 KB)", "", f"{answer:.2f} ms", text)


def measure_rate(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure how many events per second are accepted, delivered and acknowledged."""
    for size_bytes, name in ((IMAGE_BYTES, "100 KB"), (SMALL_BYTES, "1 KB")):
        count = 300 if options.quick else 3_000
        runs = [throughput.measure(count, size_bytes) for _ in range(1 if options.quick else 3)]
        rates = [one.per_second for one in runs]
        rate, disk = statistics.median(rates), statistics.median(one.disk_per_second for one in runs)
        cpu = statistics.median(one.cpu_ms for one in runs)
        yield figure(
            f"accepted durably, delivered, acknowledged ({name})",
            f"{RATE:g}/s, or the disk's",
            f"{rate:.0f}/s ({min(rates):.0f} to {max(rates):.0f})",
            f"disk {disk:.0f}/s, ratio {rate / disk:.2f}; the platform's processor time {cpu:.2f} ms an event",
            is_kept=rate >= min(RATE, disk),
        )


def measure_queue(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure whether a long queue makes the platform slower: with 100 and with 100,000 waiting events."""
    few, many = 100, 10_000 if options.quick else 100_000
    small, large = backlog.measure_beside((few, many), 60 if options.quick else 400, IMAGE_BYTES)
    noise = max(FLAT, small.halves, large.halves)
    for name, before, after in (
        ("until the 202", small.answer_ms, large.answer_ms),
        ("until the function has it", small.delivered_ms, large.delivered_ms),
        ("the platform's processor time", small.cpu_ms, large.cpu_ms),
    ):
        yield figure(
            f"an event while {many:,} wait: {name}, p50",
            f"as while {few} wait",
            f"{after:.2f} ms",
            f"{before:.2f} ms while {few} wait, ratio {after / before:.2f}; noise {noise:.2f}",
            is_kept=after / before <= noise,
        )
    grown = large.resident_mb - small.resident_mb
    yield figure(
        f"memory while {many:,} wait",
        f"as while {few} wait",
        f"{large.resident_mb:.1f} MB",
        f"{small.resident_mb:.1f} MB while {few} wait",
        is_kept=grown <= GROWN_MB,
    )
    drain = backlog.measure_drain(many, SMALL_BYTES, part=many // 20)
    ratio = drain.last_per_second / drain.first_per_second
    yield figure(
        f"delivery of {many:,} that waited (1 KB): the first 5 %",
        "as the last 5 %",
        f"{drain.first_per_second:.0f}/s",
        f"the last 5 % {drain.last_per_second:.0f}/s, ratio {ratio:.2f}; memory {drain.grown_mb:+.1f} MB in between",
        is_kept=1 / ratio <= max(FLAT, noise) or ratio < 1,
    )


def measure_idle(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure CPU time, wake-ups and memory of a platform that has nothing to do."""
    seconds = 10 if options.quick else 60
    for one in idle.measure(seconds):
        yield figure(
            f"at rest for {seconds} s, {one.replicas} warm replicas, {one.processes} processes",
            f"{IDLE_PERCENT:g} % of a core",
            f"{one.core_percent:.2f} %",
            f"{one.switches_per_second:.0f} wake-ups a second of all threads; {one.together_mb:.0f} MB (PSS)",
            is_kept=one.core_percent < IDLE_PERCENT,
        )


def measure_start(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the start of a replica by its command and by a fork of the zygote, for each artifact that is named."""
    for name, artifact in start.list_artifacts():
        plain, forked = start.measure(artifact, rounds=5 if options.quick else 15)
        ratio = statistics.median(forked.wall_ms) / statistics.median(plain.wall_ms)
        cpu_ratio = statistics.median(forked.cpu_ms) / statistics.median(plain.cpu_ms)
        yield figure(
            f"from the request for a replica to its first prediction, {name}, forked",
            f"{START_RATIO:g} of a start by its command",
            f"{ratio:.2f} (CPU {cpu_ratio:.2f})",
            f"{start.describe(forked)} with {', '.join(map(str, start.COUNTS))} replicas and the zygote; "
            f"by the command {start.describe(plain)}",
            is_kept=ratio <= START_RATIO,
        )


def figure(promise: str, bar: str, measured: str, against: str, *, is_kept: bool = True) -> Figure:
    """Return a measurement for the table, together with the current load average of the machine."""
    load = read_load()
    return Figure(promise=promise, bar=bar, measured=measured, against=against, is_kept=is_kept, load=load)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="make short runs, for a first impression")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run")
    parser.add_argument(
        "--page",
        action="store_true",
        help=("write docs/local-benchmark.md; parts that were not run keep their last figures"),
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
