"""Builds the table of simulated rollouts; each row has the results of many rollouts, with intervals."""

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
    """One row of the table: the simulated rollouts of one scenario at one rate of requests.

    Attributes:
        scenario: Behaviour of both revisions.
        per_second: Requests per second of both revisions together.
        endings: How each of the rollouts ended.
    """

    scenario: Scenario
    per_second: float
    endings: tuple[Ending, ...]

    def share(self, phase: RolloutPhase) -> tuple[float, float, float]:
        """Return the share of rollouts that ended in a phase, and the lower and upper end of its 95 % interval."""
        count = Counter(ending.phase for ending in self.endings)[phase]
        return count / len(self.endings), *wilson(count, len(self.endings))

    @property
    def within_bar(self) -> bool:
        """Whether the shares of rollouts that were done and rolled back are within the scenario's limits."""
        done, back = self.share(RolloutPhase.DONE)[0], self.share(RolloutPhase.ROLLED_BACK)[0]
        line = self.scenario
        return line.least_done <= done <= line.most_done and line.least_back <= back <= line.most_back

    def after_s(self, share: float) -> float:
        """Return the seconds within which this share of the rollouts had ended."""
        times = sorted(ending.after_s for ending in self.endings)
        return times[min(len(times) - 1, int(share * len(times)))]

    @property
    def failed(self) -> int:
        """Median number of failed requests of the new revision per rollout."""
        return sorted(ending.failed for ending in self.endings)[len(self.endings) // 2]


def run(
    scenario: Scenario, per_second: float, rollouts: int, *, seed: int = 0, settings: RolloutSettings | None = None
) -> Row:
    """Simulate many rollouts of one scenario, and return the row of the table."""
    endings = (
        simulate(scenario.old, scenario.new, per_second=per_second, seed=seed + number, settings=settings)
        for number in range(rollouts)
    )
    return Row(scenario=scenario, per_second=per_second, endings=tuple(endings))


def build_rows(rollouts: int, *, processes: int = 1) -> Iterator[Row]:
    """Simulate the rollouts of all rows in several processes, and yield the rows in the order of the table."""
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
    """Return a row of the table as Markdown."""
    cells = [_share(*row.share(phase)) for phase in (RolloutPhase.DONE, RolloutPhase.ROLLED_BACK, RolloutPhase.HELD)]
    minutes = f"{row.after_s(0.5) / 60:.1f}, {row.after_s(0.95) / 60:.1f}"
    return f"| {row.scenario.name} | {row.per_second:g} | {' | '.join(cells)} | {minutes} | {row.failed:,} |"


def _share(share: float, low: float, high: float) -> str:
    return f"{share:.1%} ({low * 100:.1f}-{high * 100:.1f})".replace("%", " %", 1)
