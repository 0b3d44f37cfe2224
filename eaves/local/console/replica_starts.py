"""The newest starts of replicas, with the phases that the replicas have logged."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from eaves.base.timestamps import parse_timestamp
from eaves.console.backend import ReplicaStart
from eaves.platform.cold_start import FIRST_PREDICTION, PHASES, STAGES

KEEP = 200
"""Number of starts that are remembered, of all functions together."""
TOLERANCE_S = 0.5
"""Difference that is allowed between the start by the supervisor's clock and by the replica's log, seconds: the log has
milliseconds, and a busy machine writes it late."""
_AFTER_READY = frozenset({"activator", "prediction"})
"""Phases that end after the replica is ready, so they aren't part of its start."""


class ReplicaStarts:
    """The newest starts; several threads may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[ReplicaStart] = deque(maxlen=KEEP)

    def add(self, start: ReplicaStart) -> None:
        """Remember a start; the oldest one is forgotten when there are more than `KEEP`."""
        with self._lock:
            self._kept.append(start)

    def read(self) -> list[ReplicaStart]:
        """Return the remembered starts, oldest first."""
        with self._lock:
            return list(self._kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStart:
    """A start as its replica has logged it.

    Attributes:
        executed_at: Time at which the process began, Unix seconds.
        stages_ms: Stage to its end, milliseconds since the process began.
    """

    executed_at: float
    stages_ms: Mapping[str, float]


def find_logged_starts(lines: Iterable[str]) -> Iterator[LoggedStart]:
    """Yield the starts in lines of a function's log; other lines, such as those of a handler, are ignored."""
    for line in lines:
        if '"start_ms"' not in line:
            continue
        try:
            values = json.loads(line)
            stages = {str(stage): float(moment) for stage, moment in values["start_ms"].items()}
            logged_at = parse_timestamp(values["time"]).timestamp()
            yield LoggedStart(executed_at=logged_at - stages[FIRST_PREDICTION] / 1000, stages_ms=stages)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def add_phases(starts: Sequence[ReplicaStart], logged: Sequence[LoggedStart]) -> list[ReplicaStart]:
    """Return the starts of one function with the phases that its replicas have logged.

    A replica logs its phases after its first prediction. A start without a prediction has no phases.

    Args:
        starts: Starts of one function.
        logged: Starts in the function's log.
    """
    left = list(logged)
    found = []
    for start in starts:
        fitting = [one for one in left if _fits(start, one)]
        if fitting:
            nearest = min(fitting, key=lambda one: abs(one.executed_at - start.at))
            left.remove(nearest)
            start = replace(start, phases_ms=_list_phases(start, nearest))  # noqa: PLW2901
        found.append(start)
    return found


def _fits(start: ReplicaStart, logged: LoggedStart) -> bool:
    return -TOLERANCE_S <= logged.executed_at - start.at <= start.total_ms / 1000 + TOLERANCE_S


def _list_phases(start: ReplicaStart, logged: LoggedStart) -> dict[str, float]:
    """Return the duration of each phase until the replica was ready, milliseconds; their sum is the total."""
    executed_ms = (logged.executed_at - start.at) * 1000
    ends = {"launch": executed_ms}
    ends |= {
        phase: executed_ms + logged.stages_ms[stage]
        for phase, stage in STAGES.items()
        if stage in logged.stages_ms and phase not in _AFTER_READY
    }
    phases, reached = {}, 0.0
    ordered = [phase for phase in PHASES if phase in ends]
    for phase in ordered:
        end = start.total_ms if phase == ordered[-1] else min(max(ends[phase], reached), start.total_ms)
        phases[phase] = round(end - reached, 1)
        reached = end
    return phases
