"""Counters and timings of a function, and the kernel's figures for its process, in Prometheus' text format.

Source: proc_pid_stat(5), proc_stat(5).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from eaves.base import process_usage
from eaves.base.prometheus import render_family, render_labels

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 500
"""Maximum number of label combinations of one metric, besides the model's own labels. Further combinations are counted
as `other`, since each combination takes memory until the process ends."""

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Histogram:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0


class Metrics:
    """Counters and histograms of one process; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[Labels, int]] = {name: {} for name in _COUNTERS}
        self._stages: dict[str, _Histogram] = {}

    def count(self, name: str, /, *, known: int = 0, **labels: str) -> None:
        """Add 1 to one of the counters that `_COUNTERS` names.

        Args:
            name: Name of the counter.
            known: Number of label combinations that are counted in addition to `MAX_SERIES`, for the model's own
                labels.
            labels: Values of the counter's labels.
        """
        with self._lock:
            series = self._counters[name]
            key = tuple(labels.items())
            if key not in series and len(series) >= MAX_SERIES + known:
                key = tuple((label, "other") for label in labels)
            series[key] = series.get(key, 0) + 1

    def observe(self, stage: str, seconds: float) -> None:
        """Record the time of one stage: `queue`, `fetch`, `decode`, `preprocess`, `infer`, `postprocess`, `request`."""
        with self._lock:
            histogram = self._stages.setdefault(stage, _Histogram())
            histogram.buckets[bisect_left(BUCKETS_S, seconds)] += 1
            histogram.sum_s += seconds

    def render(self, gauges: Mapping[str, float], artifact: Mapping[str, str]) -> str:
        """Return all metrics as text.

        Args:
            gauges: Present values of the gauges that `_GAUGES` names.
            artifact: Labels that name the artifact; empty while none is served.
        """
        with self._lock:
            return "\n".join([*self._iter_lines(gauges, artifact), ""])

    def _iter_lines(self, gauges: Mapping[str, float], artifact: Mapping[str, str]) -> Iterator[str]:
        for name, text in _COUNTERS.items():
            yield from render_family(name, text, [(dict(labels), n) for labels, n in self._counters[name].items()])
        if artifact:
            text = "Always 1; its labels name the artifact that is served."
            yield from render_family("eaves_model_info", text, [(artifact, 1)])
        for name, value in gauges.items():
            yield from render_family(name, _GAUGES[name], [({}, value)])
        name = "eaves_stage_duration_seconds"
        yield from render_family(name, "Seconds that a request spent in each stage.", (), kind="histogram")
        for stage, histogram in self._stages.items():
            counts = list(accumulate(histogram.buckets))
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                yield f"{name}_bucket{render_labels({'stage': stage, 'le': bound})} {count}"
            yield f"{name}_sum{render_labels({'stage': stage})} {histogram.sum_s:.6f}"
            yield f"{name}_count{render_labels({'stage': stage})} {counts[-1]}"


_COUNTERS = {
    "eaves_requests_total": "Requests by route, status, type of problem (empty: none), and who counts them.",
    "eaves_predictions_total": "Predictions by their best label (empty: a task without labels).",
}
_GAUGES = {
    "eaves_ready": "1 if the function is ready to answer predictions, 0 otherwise.",
    "eaves_in_work": "Requests that are running or waiting.",
    "eaves_sessions": "Open sessions of the model: 2 once predictions have overlapped, if memory allows.",
    "eaves_threads": "Threads of a prediction that runs alone.",
    "eaves_start_seconds": "Seconds from the start of the process until it was ready.",
    "process_resident_memory_bytes": "Resident memory of this process and its children in bytes.",
    "process_cpu_seconds_total": "Processor time of this process and its children in seconds.",
    "process_start_time_seconds": "Time when this process started, in Unix seconds.",
}


def read_usage() -> dict[str, float]:
    """Return memory, CPU time and start time of this process, by the names of Prometheus' metrics."""
    usage = process_usage.read_usage()
    return {
        "process_resident_memory_bytes": usage.memory_bytes,
        "process_cpu_seconds_total": usage.cpu_s,
        "process_start_time_seconds": process_usage.read_start(),
    }
