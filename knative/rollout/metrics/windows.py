"""Short windows of the present step, of which only the part that judges need is kept. Pure.

One event, such as a stalled disk, makes many requests fail or slow down together, while tests take them as independent.
So the windows with the most failures are known and can be left out, and the variation of the mean time is measured from
window to window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from knative.rollout.metrics.counters import RequestCounters

WINDOW_S = 15.0
"""Minimum length of a window in seconds; readings that are further apart make longer ones."""
LEFT_OUT = 2
"""Number of windows with the most failures that are left out: one event of up to `WINDOW_S` can touch two."""

Window: TypeAlias = "Mapping[str, RequestCounters]"
"""Requests of each revision in a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTimes:
    """The variation of a revision's mean time from window to window.

    Attributes:
        windows: Number of windows with a timed prediction.
        timed: Number of predictions in them.
        seconds: Total time of these predictions.
        squares: Sum over windows of squared seconds divided by the number of predictions.
    """

    windows: int = 0
    timed: int = 0
    seconds: float = 0.0
    squares: float = 0.0

    def add(self, tally: RequestCounters) -> WindowTimes:
        """Return the times with one more window."""
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
        """Variance of `mean_s` in seconds squared; it needs two windows.

        Source: batch means, Law 2015, Simulation Modeling and Analysis, section 9.5.3: unlike the spread of single
        predictions, it is valid when slow ones come together.
        """
        between = max(0.0, self.squares - self.seconds**2 / self.timed) / (self.windows - 1)
        return between / self.timed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWindows:
    """The windows of the present step.

    Attributes:
        since: Unix time in seconds when the open window began; 0 means that it began with the step.
        base: Counters of each revision at that time.
        worst: For each revision, the closed windows in which most of its requests failed.
        times: For each revision, the times in closed windows.
    """

    since: float = 0.0
    base: Mapping[str, RequestCounters] = field(default_factory=dict)
    worst: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    times: Mapping[str, WindowTimes] = field(default_factory=dict)

    def close(self, window: Window, totals: Mapping[str, RequestCounters], now: float) -> StepWindows:
        """Close the open window and begin another one."""
        judged = {name: replace(tally, refused=0, timed=0, seconds=0.0) for name, tally in window.items()}
        worst = {name: worst_of(name, (*self.worst.get(name, ()), judged)) for name in {*self.worst, *window}}
        times = {name: self.times.get(name, WindowTimes()).add(tally) for name, tally in window.items()}
        return replace(
            self,
            since=now,
            base=dict(totals),
            worst={name: windows for name, windows in worst.items() if windows},
            times={**self.times, **{name: one for name, one in times.items() if one.windows}},
        )


def worst_of(revision: str, windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return the windows with the most failures of a revision, at most `LEFT_OUT`, each with at least one."""
    failing = [window for window in windows if revision in window and window[revision].failed]
    return tuple(sorted(failing, key=lambda window: -window[revision].failed)[:LEFT_OUT])
