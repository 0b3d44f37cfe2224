"""The metrics page of a function's process, read as counters of requests and times of predictions. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from eaves.delivery.response_rules import classify_outcome
from eaves.rollout.counters import RequestCounters
from eaves.spool import outcomes

REQUESTS, STAGES = "eaves_requests_total", "eaves_stage_duration_seconds"
KINDS = ("predict", "tensor")
REFUSED = outcomes.REFUSED
"""Kind of a request that the function's HTTP server refused, for example a body that is too large."""
IMAGE_STAGES = ("decode", "preprocess", "infer", "postprocess")
TENSOR_STAGES = ("tensor",)

_SERIES = re.compile(r"^(\w+)\{(.*)\} (\d{1,15}(?:\.\d+)?)$", re.MULTILINE | re.ASCII)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]
"""Labels and values of the series of each metric, by the metric's name."""


def parse_counters(text: str) -> tuple[RequestCounters, RequestCounters]:
    """Return (counts of a process, estimate for its slowest predictions).

    The time of a prediction is the time of its own stages: decoding, preprocessing, the model, and postprocessing. It
    excludes `queue`, which shows how busy a replica is and is longer for the revision with the larger share, and
    `fetch` and `request`, which depend on other systems.
    """
    samples = parse_metrics(text)
    found: Counter[str] = Counter()
    for labels, value in samples.get(REQUESTS, []):
        status, kind = labels.get("status", ""), labels.get("kind", "")
        outcome = classify_outcome(int(status) if status.isdecimal() else 0, labels.get("problem", ""))
        if "counted" not in labels and (kind in KINDS or (kind == outcome == REFUSED)):
            found[outcome] += int(value)
    counted, slowest = RequestCounters(**{name: found[name] for name in outcomes.KINDS}), RequestCounters()
    for stages in (IMAGE_STAGES, TENSOR_STAGES):
        counts, sums_s, slowest_s = zip(*(_histogram(samples, stage) for stage in stages), strict=True)
        counted += RequestCounters(timed=max(counts), seconds=sum(sums_s))
        slowest += RequestCounters(timed=min(1, max(counts)), seconds=sum(slowest_s))
    return counted, slowest


def parse_metrics(text: str) -> Samples:
    """Parse every series with labels in the form that Eaves writes; other lines are skipped."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for name, labels, value in _SERIES.findall(text):
        samples.setdefault(name, []).append((dict(_LABEL.findall(labels)), float(value)))
    return samples


def _histogram(samples: Samples, stage: str) -> tuple[int, float, float]:
    """Return (count, sum, slowest time) of one stage, times in seconds.

    The slowest time is estimated as the middle of its smallest and largest possible value, which the histogram's
    buckets give.
    """
    count = int(_value(samples, f"{STAGES}_count", stage))
    sum_s = _value(samples, f"{STAGES}_sum", stage)
    bounds = sorted(
        (float(labels["le"]), value)
        for labels, value in samples.get(f"{STAGES}_bucket", [])
        if labels.get("stage") == stage
    )
    buckets = [(low, high, more - fewer) for (low, fewer), (high, more) in pairwise([(0.0, 0.0), *bounds])]
    filled = [bucket for bucket in buckets if bucket[2] > 0]
    if not filled:
        return count, sum_s, sum_s / count if count else 0.0
    low, high, inside = filled[-1]
    others = [*filled[:-1], (low, high, inside - 1)]
    least = max(low, sum_s - sum(bucket[1] * bucket[2] for bucket in others if bucket[2] > 0))
    most = min(high, sum_s - sum(bucket[0] * bucket[2] for bucket in others))
    return count, sum_s, min(sum_s, max(0.0, (least + most) / 2))


def _value(samples: Samples, name: str, stage: str) -> float:
    return sum(value for labels, value in samples.get(name, []) if labels.get("stage") == stage)
