"""How often int8's gate ships a bad graph and refuses a good one: exact probabilities, without a model or an image.

`python -m bench int8_gate` prints the table of docs/02-conversion.md. Discordance is the share of images that exactly
one graph names right, of a harmless graph half lost and half gained; a harmful one loses the allowed drop on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from converters.int8.evidence import CONFIDENCE
from converters.int8.pick import SHARE_ON_TRAINED
from eaves.statistics import images_needed, paired_p_value, tango_score

DROPS = (0.01, 0.03)
DISCORDANCES = (0.02, 0.04, 0.08)
IMAGES = (150, 500, 1250, 2500, 5000)
CANDIDATES = 7
PICKING_IMAGES = 200
SHARED = 0.6
"""Share of a candidate's changed answers that all candidates have in common."""
RUNS = 200_000
"""Simulated conversions a line: they know 5 % to 0.1 points."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; shares of 1.

    Attributes:
        drop: Largest loss that is allowed.
        discordance: Share of images that exactly one graph names right.
        n: Labelled images.
        harmful_ships: Probability that a graph that loses the allowed drop ships.
        harmful_ships_of_7: The same when it was picked among 7 graphs that all lose it.
        harmless_refused: Probability that a graph that loses nothing is refused.
    """

    drop: float
    discordance: float
    n: int
    harmful_ships: float
    harmful_ships_of_7: float
    harmless_refused: float


@cache
def passing(n: int, drop: float) -> tuple[int, ...]:
    """Largest number of lost images that passes, for each number of gained ones; -1: none does.

    The gate passes an outcome by its p-value, which grows with the score. So one score divides what passes from what
    doesn't, and a bisection over the outcomes in its order finds it.
    """
    most = min(n, math.ceil(n * (drop + 0.05) + 6 * math.sqrt(n * (drop + 0.05)) + 10))
    lost, gained = (axis.ravel() for axis in np.meshgrid(np.arange(most + 1), np.arange(most + 1)))
    scores = tango_score(lost.astype(np.float64), gained.astype(np.float64), n, drop)
    order = np.argsort(scores, kind="stable")
    low, high = -1, len(order) - 1
    while high - low > 1:
        middle = (low + high) // 2
        outcome = order[middle]
        if paired_p_value(int(lost[outcome]), int(gained[outcome]), n, drop) <= 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    limit = scores[order[low]] if low >= 0 else -np.inf
    passes = (scores <= limit + 1e-9).reshape(most + 1, most + 1)  # rows: gained
    return tuple(int(row.sum()) - 1 for row in passes)


def probability(n: int, drop: float, lost_share: float, gained_share: float) -> float:
    """Probability that the gate passes a graph, exactly."""
    log_factorials = np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1.0, n + 1)))])
    total = 0.0
    for gained, most in enumerate(passing(n, drop)):
        lost = np.arange(min(most, n - gained) + 1)
        same = n - lost - gained
        ways = log_factorials[n] - log_factorials[lost] - log_factorials[gained] - log_factorials[same]
        logs = lost * math.log(lost_share) + gained * math.log(gained_share)
        total += float(np.exp(ways + logs + same * math.log1p(-lost_share - gained_share)).sum())
    return total


def ships_of_many(n: int, drop: float, discordance: float, *, runs: int, on_judged: bool = False) -> float:
    """Share of conversions that ship one of 7 graphs that all lose the allowed drop, by simulation.

    Args:
        n: Labelled images.
        drop: Largest loss that is allowed.
        discordance: Share of images that exactly one graph names right.
        runs: Conversions.
        on_judged: Whether every candidate is judged until one passes, as before; else one is picked on other images.
    """
    random = np.random.default_rng(0)
    limits = np.array(passing(n, drop))
    lost, gained = _flips(random, n, drop, discordance, runs)
    passes = lost <= np.where(gained < len(limits), limits[np.minimum(gained, len(limits) - 1)], -1)
    if on_judged:
        return float(passes.any(axis=1).mean())
    different = np.add(*_flips(random, PICKING_IMAGES, drop, discordance, runs)) / PICKING_IMAGES
    good = different <= SHARE_ON_TRAINED * drop
    picked = np.where(good.any(axis=1), good.argmax(axis=1), different.argmin(axis=1))  # as converters.int8.pick
    return float(passes[np.arange(runs), picked].mean())


def build_table(runs: int, images: Sequence[int] = IMAGES) -> list[Row]:
    """Every line: the numbers of images, and for each drop and discordance the number that the gate asks for."""
    cases = [
        (drop, discordance, n)
        for drop in DROPS
        for discordance in DISCORDANCES
        for n in sorted({*images, images_needed(discordance, drop)})
    ]
    return [
        Row(
            drop=drop,
            discordance=discordance,
            n=n,
            harmful_ships=probability(n, drop, discordance / 2 + drop, discordance / 2),
            harmful_ships_of_7=ships_of_many(n, drop, discordance, runs=runs),
            harmless_refused=1 - probability(n, drop, discordance / 2, discordance / 2),
        )
        for drop, discordance, n in cases
    ]


def main() -> None:
    """Print the table."""
    print("| may lose | discordance | images | bad one ships | ... picked of 7 | good one refused |")
    print("|---|---|---|---|---|---|")
    for row in build_table(runs=RUNS):
        asked = " (asked for)" if row.n == images_needed(row.discordance, row.drop) else ""
        print(
            f"| {row.drop * 100:g} | {row.discordance:.0%} | {row.n:,}{asked} | {row.harmful_ships:.2%} | "
            f"{row.harmful_ships_of_7:.2%} | {max(0.0, row.harmless_refused):.0%} |"
        )


def _flips(random: np.random.Generator, n: int, drop: float, discordance: float, runs: int) -> tuple[Counts, Counts]:
    """(runs, candidates) lost and gained images; some changed answers are common to all candidates of a run."""
    shares = np.array([discordance / 2 + drop, discordance / 2, 1 - discordance - drop])
    common = random.multinomial(n, shares, size=runs)[:, np.newaxis, :]
    kept = random.binomial(np.broadcast_to(common, (runs, CANDIDATES, 3)), SHARED)
    own = random.multinomial(n - kept.sum(axis=2), shares)
    return kept[..., 0] + own[..., 0], kept[..., 1] + own[..., 1]
