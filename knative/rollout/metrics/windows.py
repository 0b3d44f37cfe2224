"""Short time windows of a rollout's present step. Only the numbers that judges need are kept. Pure.

One incident, such as a stalled disk, makes many requests fail or slow down together, while statistical tests take
requests as independent. So the windows with the most failures are kept, to leave them out of a test, and the variation
of the mean time is measured from one window to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from knative.rollout.metrics.counters import RequestCounters

WINDOW_S = 15.0
"""Minimum length of a time window in seconds; when readings are further apart, windows are longer."""
LEFT_OUT = 2
"""Number of time windows with the most failures that are left out of a test. An incident of up to `WINDOW_S` seconds
can be in two windows."""

Window: TypeAlias = "Mapping[str, RequestCounters]"
"""Requests in one time window, by revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTimes:
    """Sums from which the variation of a revision's mean time between time windows is computed.

    Attributes:
        windows: Number of windows with a timed prediction.
        timed: Number of timed predictions in those windows.
        seconds: Total time of these predictions.
        squares: Sum over windows of squared seconds divided by the number of predictions.
    """

    windows: int = 0
    timed: int = 0
    seconds: float = 0.0
    squares: float = 0.0

    def add(self, tally: RequestCounters) -> WindowTimes:
        """Return the sums with one more time window; a window without a timed prediction changes nothing."""
        if not tally.timed:
            return self
        return WindowTimes(
            windows=self.windows + 1,
            timed=self.timed + tally.timed,
            seconds=round(self.seconds + tally.seconds, 6),
            squares=round(self.squares + tally.seconds**2 / tally.timed, 9),
        )

    @property
    def mean_s(self) -> float:
        """Mean time of a prediction in seconds."""
        return self.seconds / self.timed if self.timed else 0.0

    @property
    def variance_of_mean(self) -> float:
        """Variance of `mean_s` in seconds squared; it needs at least two windows.

        Source: batch means, Law 2015, Simulation Modeling and Analysis, section 9.5.3: unlike the spread of single
        predictions, it is valid when slow predictions come together.
        """
        between = max(0.0, self.squares - self.seconds**2 / self.timed) / (self.windows - 1)
        return between / self.timed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWindows:
    """The time windows of a rollout's present step.

    Attributes:
        since: Unix time in seconds when the open window began; 0 means that it began with the step.
        base: Counters of each revision when the open window began.
        worst: For each revision, the closed windows with the most failed requests.
        most_refused: For each revision, the closed windows with the most refused requests, which are the failed ones in
            these windows (`RequestCounters.refusals`).
        times: For each revision, the sums over its closed windows.
    """

    since: float = 0.0
    base: Mapping[str, RequestCounters] = field(default_factory=dict)
    worst: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    most_refused: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    times: Mapping[str, WindowTimes] = field(default_factory=dict)

    def close(self, window: Window, totals: Mapping[str, RequestCounters], now: float) -> StepWindows:
        """Close the open time window and begin another one at the time `now`; return the new windows."""
        judged = {name: replace(tally, refused=0, timed=0, seconds=0.0) for name, tally in window.items()}
        refusals = {name: tally.refusals for name, tally in window.items()}
        times = {name: self.times.get(name, WindowTimes()).add(tally) for name, tally in window.items()}
        return replace(
            self,
            since=now,
            base=dict(totals),
            worst=_add_window(self.worst, judged),
            most_refused=_add_window(self.most_refused, refusals),
            times={**self.times, **{name: one for name, one in times.items() if one.windows}},
        )


def _add_window(worst: Mapping[str, tuple[Window, ...]], window: Window) -> dict[str, tuple[Window, ...]]:
    kept = {name: worst_of(name, (*worst.get(name, ()), window)) for name in {*worst, *window}}
    return {name: windows for name, windows in kept.items() if windows}


def worst_of(revision: str, windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return the windows in which most requests of a revision failed: at most `LEFT_OUT`, each with a failure."""
    failing = [window for window in windows if revision in window and window[revision].failed]
    return tuple(sorted(failing, key=lambda window: -window[revision].failed)[:LEFT_OUT])
