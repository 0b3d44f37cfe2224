"""Cold starts of a function: one bar for each of the newest starts, and the median of each phase."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eaves.console.backend import ReplicaStart
from eaves.platform.cold_start import PHASES

KEEP = 20
"""Number of the newest starts that are shown and summarised."""
SCALE = 1_000
"""Width of the longest bar, units of the drawing."""
OTHER = "other"
"""Name of the time that no reported phase has."""
COLOURS = 8
"""Number of different colours of phases in console.css."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One phase in a bar.

    Attributes:
        phase: Name of the phase.
        duration_ms: Its duration, milliseconds.
        x: Left edge, units of the drawing.
        width: Width, units of the drawing.
        colour: Number of its colour.
    """

    phase: str
    duration_ms: float
    x: float
    width: float
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartBar:
    """One start.

    Attributes:
        at: Time at which the replica was wanted, Unix seconds.
        total_ms: Time until the replica was ready, milliseconds.
        method: How the process was started, in words.
        segments: Its phases in the order of time.
    """

    at: float
    total_ms: float
    method: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTimes:
    """The durations of one phase over the shown starts, milliseconds.

    Attributes:
        phase: Name of the phase, or `total`.
        meaning: What happens in the phase.
        colour: Number of its colour; -1 for the total.
        median_ms: Median.
        min_ms: Shortest.
        max_ms: Longest.
    """

    phase: str
    meaning: str
    colour: int
    median_ms: float
    min_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStarts:
    """The newest cold starts of a function.

    Attributes:
        bars: Each start, newest first.
        phases: Times of each phase, then of the whole start; empty without starts.
        without_phases: Number of shown starts that reported no phases.
    """

    bars: tuple[StartBar, ...] = ()
    phases: tuple[PhaseTimes, ...] = ()
    without_phases: int = 0


METHODS: Mapping[str, str] = {
    "fork": "copied from a process with the libraries loaded",
    "command": "started as a new process",
    "pod": "started as a new pod",
}
_MEANINGS: Mapping[str, str] = {
    **PHASES,
    "session": "the model is read into memory",
    "golden": "a known image must get its recorded answer",
    OTHER: "time that the replica doesn't report by phase",
}


def build_cold_starts(starts: Iterable[ReplicaStart], function: str) -> ColdStarts:
    """Build the view of a function's cold starts.

    Args:
        starts: Starts of all functions, oldest first.
        function: Name of the function.
    """
    shown = [start for start in starts if start.function == function and _is_time(start.total_ms)][-KEEP:]
    if not shown:
        return ColdStarts()
    durations = [_split(start) for start in shown]
    names = _order({phase for phases in durations for phase in phases})
    colours = {phase: index % COLOURS for index, phase in enumerate(names)}
    longest_ms = max(max(start.total_ms, sum(phases.values())) for start, phases in zip(shown, durations, strict=True))
    bars = [
        _build_bar(start, phases, names, colours, longest_ms) for start, phases in zip(shown, durations, strict=True)
    ]
    reported = [phases for phases, start in zip(durations, shown, strict=True) if start.phases_ms]
    rows = [
        _summarize(phase, [phases.get(phase, 0.0) for phases in reported], colours[phase])
        for phase in names
        if reported
    ]
    total = _summarize("total", [start.total_ms for start in shown], -1)
    return ColdStarts(bars=tuple(reversed(bars)), phases=(*rows, total), without_phases=len(shown) - len(reported))


def _split(start: ReplicaStart) -> dict[str, float]:
    """Return the duration of each phase; time without a phase, from 1 ms on, is `OTHER`."""
    phases = {phase: value for phase, value in start.phases_ms.items() if _is_time(value)}
    rest = start.total_ms - sum(phases.values())
    return {**phases, **({OTHER: rest} if rest >= 1 else {})}


def _order(names: set[str]) -> list[str]:
    """Return phases in the order of time; unknown ones follow."""
    known = [phase for phase in PHASES if phase in names]
    return [*known, *sorted(names - {*known, OTHER}), *({OTHER} & names)]


def _build_bar(
    start: ReplicaStart,
    phases: Mapping[str, float],
    names: Sequence[str],
    colours: Mapping[str, int],
    longest_ms: float,
) -> StartBar:
    segments, x = [], 0.0
    for phase in (phase for phase in names if phase in phases):
        width = phases[phase] / max(longest_ms, 1e-9) * SCALE
        segments.append(
            Segment(
                phase=phase,
                duration_ms=phases[phase],
                x=round(x, 1),
                width=round(width, 1),
                colour=colours[phase],
            )
        )
        x += width
    method = METHODS.get(start.method, start.method)
    return StartBar(at=start.at, total_ms=start.total_ms, method=method, segments=tuple(segments))


def _summarize(phase: str, values_ms: Sequence[float], colour: int) -> PhaseTimes:
    return PhaseTimes(
        phase=phase,
        meaning=_MEANINGS.get(phase, "until the replica is ready" if phase == "total" else ""),
        colour=colour,
        median_ms=statistics.median(values_ms),
        min_ms=min(values_ms),
        max_ms=max(values_ms),
    )


def _is_time(milliseconds: float) -> bool:
    return 0 <= milliseconds < math.inf
