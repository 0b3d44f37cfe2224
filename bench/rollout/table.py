"""Table of simulated rollouts: each row summarises many simulations, with confidence intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool

from bench.rollout.scenarios import SCENARIOS, Scenario
from bench.rollout.simulation import Ending, simulate
from eaves.base.statistics import wilson
from knative.rollout.rollout_state import RolloutPhase
from knative.settings import RolloutSettings

RATES = (2.0, 20.0)
"""Requests per second of both revisions together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table.

    Attributes:
        scenario: Scenario of the row.
        per_second: Requests per second.
        endings: Ends of its rollouts.
    """

    scenario: Scenario
    per_second: float
    endings: tuple[Ending, ...]

    def share(self, phase: RolloutPhase) -> tuple[float, float, float]:
        """Return the share of rollouts that ended in a phase, and its 95 % interval."""
        count = Counter(ending.phase for ending in self.endings)[phase]
        return count / len(self.endings), *wilson(count, len(self.endings))

    @property
    def within_bar(self) -> bool:
        """Return whether the shares are within the scenario's limits."""
        done, back = self.share(RolloutPhase.DONE)[0], self.share(RolloutPhase.ROLLED_BACK)[0]
        line = self.scenario
        return line.least_done <= done <= line.most_done and line.least_back <= back <= line.most_back

    def after_s(self, share: float) -> float:
        """Return the seconds by which this share of the rollouts had ended."""
        times = sorted(ending.after_s for ending in self.endings)
        return times[min(len(times) - 1, int(share * len(times)))]

    @property
    def failed(self) -> int:
        """Return the median number of the new revision's failed requests."""
        return sorted(ending.failed for ending in self.endings)[len(self.endings) // 2]


def run(
    scenario: Scenario, per_second: float, rollouts: int, *, seed: int = 0, settings: RolloutSettings | None = None
) -> Row:
    """Simulate one row."""
    endings = (
        simulate(scenario.old, scenario.new, per_second=per_second, seed=seed + number, settings=settings)
        for number in range(rollouts)
    )
    return Row(scenario=scenario, per_second=per_second, endings=tuple(endings))


def build_rows(rollouts: int, *, processes: int = 1) -> Iterator[Row]:
    """Yield every row as soon as it and those before it are done."""
    lines = [(index, rate, rollouts) for rate in RATES for index in range(len(SCENARIOS))]
    with Pool(processes) as pool:
        for (index, rate, _), endings in zip(lines, pool.imap(_endings, lines), strict=True):
            yield Row(scenario=SCENARIOS[index], per_second=rate, endings=endings)


def _endings(line: tuple[int, float, int]) -> tuple[Ending, ...]:
    index, per_second, rollouts = line
    return run(SCENARIOS[index], per_second, rollouts).endings


HEAD = (
    "| old revision, then new one | requests/s | reaches 100 % | rolled back | held "
    "| minutes: half, 95 % | failed requests |\n|---|---|---|---|---|---|---|"
)


def render(row: Row) -> str:
    """Return one row as Markdown."""
    cells = [_share(*row.share(phase)) for phase in (RolloutPhase.DONE, RolloutPhase.ROLLED_BACK, RolloutPhase.HELD)]
    minutes = f"{row.after_s(0.5) / 60:.1f}, {row.after_s(0.95) / 60:.1f}"
    return f"| {row.scenario.name} | {row.per_second:g} | {' | '.join(cells)} | {minutes} | {row.failed:,} |"


def _share(share: float, low: float, high: float) -> str:
    return f"{share:.1%} ({low * 100:.1f}-{high * 100:.1f})".replace("%", " %", 1)
