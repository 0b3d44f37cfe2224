"""Cold starts: the phases between a request to a function without replicas and its answer, and their medians.

A platform observes when phases end. Most of them end inside the function's process, which logs its own stages
(`timing` in `functions.settings`) in milliseconds since exec. The clock of the node is never compared with the clock of
this machine: the process's last stage, its first prediction, ended half a round trip before the answer arrived, and
this puts all its stages on one time axis with the request.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

PHASES: Mapping[str, str] = MappingProxyType(
    {
        "autoscaling": "until Knative has made a pod",
        "scheduling": "until the pod has a node",
        "sandbox": "volumes, network, pause container",
        "image": "container image found or pulled",
        "container": "container made, process executed",
        "launch": "until the process is executed",
        "interpreter": "Python started",
        "imports": "modules of the model imported",
        "session": "artifact read, session opened",
        "golden": "golden image reproduced",
        "server": "server's modules still imported",
        "sidecar": "queue-proxy still starting",
        "probe": "until a readiness probe passed",
        "activator": "until the request is forwarded",
        "prediction": "image decoded and predicted",
        "process": "process started until answered",
        "answer": "answer on its way back",
    }
)
"""Name of each phase to what happens in it, in their order; a cold start has those that its platform observed."""
FIRST_PREDICTION = "first prediction"
STAGES: Mapping[str, str] = MappingProxyType(
    {
        "interpreter": "interpreter",
        "imports": "import functions.model.model_loading",
        "session": "open session",
        "golden": "golden check",
        "server": "listening",
        "probe": "first probe",
        "activator": "first request",
        "prediction": FIRST_PREDICTION,
    }
)
"""Phase to the stage in the log of the function's process at whose end the phase ends."""
IN_PROCESS = frozenset({"interpreter", "imports", "session", "golden", "server", "prediction", "process"})
"""Phases whose length depends on the processor that the function's container gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One observed cold start.

    Attributes:
        ends_ms: Phase to its end, milliseconds since the request was sent; only observed phases.
        total_ms: Milliseconds until the answer arrived.
        warm_ms: Milliseconds of the same request to the running replica.
        pulled: Whether a node pulled the container image during the start.
    """

    ends_ms: Mapping[str, float]
    total_ms: float
    warm_ms: float
    pulled: bool = False

    def durations_ms(self) -> dict[str, float]:
        """Return the milliseconds of each phase; their sum is `total_ms`.

        Phases may overlap, such as the golden check and the start of the sidecar. A phase gets the time from the end of
        all earlier phases to its own end, which is 0 when it ended before them.
        """
        found, reached = {}, 0.0
        for phase in (phase for phase in PHASES if phase in self.ends_ms):
            end = min(max(self.ends_ms[phase], reached), self.total_ms)
            found[phase] = end - reached
            reached = end
        return found | {"answer": self.total_ms - reached}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSummary:
    """The durations of one phase in several cold starts, milliseconds.

    Attributes:
        phase: Name of the phase, or `total` or `warm`.
        median_ms: Median.
        min_ms: Shortest duration.
        max_ms: Longest duration.
    """

    phase: str
    median_ms: float
    min_ms: float
    max_ms: float


def summarize(starts: Sequence[ColdStart]) -> list[PhaseSummary]:
    """Return a summary of each observed phase in order, then of `total` and of `warm`.

    Args:
        starts: At least one cold start. A phase that some of them lack counts as 0 there.
    """
    samples = [start.durations_ms() for start in starts]
    phases = [phase for phase in PHASES if any(phase in sample for sample in samples)]
    summaries = [_summarize(phase, [sample.get(phase, 0.0) for sample in samples]) for phase in phases]
    total = _summarize("total", [start.total_ms for start in starts])
    return [*summaries, total, _summarize("warm", [start.warm_ms for start in starts])]


def _summarize(phase: str, values_ms: Sequence[float]) -> PhaseSummary:
    median, low, high = (round(value, 1) for value in (statistics.median(values_ms), min(values_ms), max(values_ms)))
    return PhaseSummary(phase=phase, median_ms=median, min_ms=low, max_ms=high)


def find_stages(lines: Iterable[str]) -> Mapping[str, float] | None:
    """Return the stages of the latest start in a function's log, as milliseconds since exec; None without such a line.

    Args:
        lines: Lines of the log. Only JSON lines have the stages.
    """
    found = None
    for line in lines:
        if '"start_ms"' not in line:
            continue
        try:
            stages = json.loads(line)["start_ms"]
            found = {str(stage): float(moment) for stage, moment in stages.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def place_stages(stages: Mapping[str, float], predicted_at_ms: float) -> dict[str, float]:
    """Return the phases of a process on the time axis of the request.

    Args:
        stages: Stages of the process, milliseconds since exec.
        predicted_at_ms: Time of the end of the first prediction, milliseconds since the request was sent.

    Returns:
        Phase to its end, milliseconds since the request was sent. `launch` ends at exec. The result is empty when the
        process has not logged a first prediction.
    """
    if FIRST_PREDICTION not in stages:
        return {}
    executed_at_ms = predicted_at_ms - stages[FIRST_PREDICTION]
    ends = {phase: executed_at_ms + stages[stage] for phase, stage in STAGES.items() if stage in stages}
    return {"launch": executed_at_ms, **ends}
