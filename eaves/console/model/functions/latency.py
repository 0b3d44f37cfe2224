"""Latencies of a function, from the records of its newest predictions.

A prediction has the times of its stages, which the function measured. The time from the arrival of the image to the
arrival of the prediction is known when the history has both records. The rest of that time is `waiting`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eaves.console.model.prediction import PREDICTED, parse_prediction
from eaves.history import Record, RecordFilter, Records

WINDOW = 500
"""Maximum number of predictions that the figures are computed from."""
HOUR_S = 3_600.0
MIN_SAMPLES: Mapping[int, int] = {50: 5, 95: 20, 99: 100}
"""Percentile to the smallest number of predictions for which it is shown. With fewer than 20, the 95th percentile is
the maximum."""
STAGES: Mapping[str, str] = {
    "waiting": "in the queue, on the way to the function and, after a sleep, until it has started",
    "decode": "the image's bytes are decoded to pixels",
    "preprocess": "the pixels become the model's input",
    "infer": "the model computes",
    "postprocess": "the model's output becomes the prediction",
}
"""Stage to what happens in it, in the order of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of a time.

    Attributes:
        count: Number of predictions whose time is known.
        p50_ms: Median, milliseconds; None with too few predictions, as for the others.
        p95_ms: 95th percentile, milliseconds.
        p99_ms: 99th percentile, milliseconds.
        max_ms: Longest time, milliseconds; None without any.
    """

    count: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLatency:
    """Times of one stage.

    Attributes:
        name: Name of the stage.
        meaning: What happens in the stage; empty for a stage of a later version.
        times: Percentiles of its duration.
    """

    name: str
    meaning: str
    times: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latencies of a function's newest predictions.

    Attributes:
        predictions: Number of predictions in the window.
        since: Arrival of the oldest of them, Unix seconds; None without any.
        last_at: Arrival of the newest, Unix seconds; None without any.
        is_full: Whether the window has its maximum number of predictions, so that there may be older ones.
        last_hour: Number of the window's predictions that arrived in the last hour.
        is_hour_known: Whether `last_hour` is the number of all predictions of the last hour.
        total: From the arrival of the image to the arrival of the prediction.
        model: Sum of the stages in the function.
        stages: Times of each stage, in the order of time.
    """

    predictions: int = 0
    since: float | None = None
    last_at: float | None = None
    is_full: bool = False
    last_hour: int = 0
    is_hour_known: bool = True
    total: Percentiles = Percentiles()
    model: Percentiles = Percentiles()
    stages: tuple[StageLatency, ...] = ()

    @property
    def too_few(self) -> tuple[int, ...]:
        """Percentiles that are not shown, because the window has too few predictions."""
        return tuple(percent for percent, least in MIN_SAMPLES.items() if self.predictions < least)


def read_latency(records: Records, function: str, now: float, *, window: int = WINDOW) -> Latency:
    """Compute the latencies of a function.

    Args:
        records: The history.
        function: Name of the function.
        now: Current time, Unix seconds.
        window: Maximum number of predictions.

    Raises:
        PlatformError: When the history can't be read.
    """
    found = records.find(RecordFilter(types=PREDICTED, source=function), limit=window)
    predicted = [record for record in found if record.source.rpartition("/")[2] == function]
    if not predicted:
        return Latency()
    causes = records.causes(predicted)
    arrivals = {seq: cause.at for seq, cause in causes.items()}
    return build_latency(predicted, arrivals, now, is_full=len(found) >= window)


def build_latency(
    predicted: Sequence[Record], arrivals: Mapping[int, float], now: float, *, is_full: bool = False
) -> Latency:
    """Compute latencies from records of predictions.

    Args:
        predicted: Records of the predictions of one function, newest first, at least one.
        arrivals: `Record.seq` of a prediction to the arrival of its image, Unix seconds, where that is known.
        now: Current time, Unix seconds.
        is_full: Whether there may be older predictions.
    """
    oldest = min(record.at for record in predicted)
    samples: dict[str, list[float]] = {}
    totals, sums = [], []
    for record in predicted:
        stages = parse_prediction(record).timings_ms
        if stages:
            sums.append(sum(stages.values()))
        total = (record.at - arrivals.get(record.seq, math.inf)) * 1_000
        if total >= sum(stages.values()):
            # A direct call arrives together with its answer; such a pair says nothing about the time between.
            totals.append(total)
            if stages:
                samples.setdefault("waiting", []).append(total - sum(stages.values()))
        for stage, duration_ms in stages.items():
            samples.setdefault(stage, []).append(duration_ms)
    names = [*(stage for stage in STAGES if stage in samples), *sorted(samples.keys() - STAGES.keys())]
    return Latency(
        predictions=len(predicted),
        since=oldest,
        last_at=max(record.at for record in predicted),
        is_full=is_full,
        last_hour=sum(record.at > now - HOUR_S for record in predicted),
        is_hour_known=not is_full or oldest <= now - HOUR_S,
        total=_summarize(totals),
        model=_summarize(sums),
        stages=tuple(
            StageLatency(name=name, meaning=STAGES.get(name, ""), times=_summarize(samples[name])) for name in names
        ),
    )


def _summarize(values_ms: Sequence[float]) -> Percentiles:
    ordered = sorted(values_ms)
    found = {
        percent: ordered[math.ceil(percent / 100 * len(ordered)) - 1] if len(ordered) >= least else None
        for percent, least in MIN_SAMPLES.items()
    }
    return Percentiles(
        count=len(ordered),
        p50_ms=found[50],
        p95_ms=found[95],
        p99_ms=found[99],
        max_ms=ordered[-1] if ordered else None,
    )
