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

from converters.int8.evidence import CONFIDENCE
from converters.int8.pick import Look, Wanted, pick
from eaves.statistics import images_needed, paired_p_value, tango_score

DROPS = (0.01, 0.03)
DISCORDANCES = (0.02, 0.04, 0.08)
IMAGES = (150, 500, 1250, 2500, 5000)
CANDIDATES = 7
PICKING_IMAGES = 200
SHARED = 0.6
"""Share of a candidate's changed answers that all candidates have in common."""


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
    random, table = np.random.default_rng(0), passing(n, drop)
    shipped = 0
    for _ in range(runs):
        judged = _flips(random, n, drop, discordance)
        passes = [_passes(table, lost, gained) for lost, gained in judged]
        if on_judged:
            shipped += any(passes)
            continue
        looks = [sum(counts) / PICKING_IMAGES for counts in _flips(random, PICKING_IMAGES, drop, discordance)]
        shipped += passes[_pick(looks, drop)]
    return shipped / runs


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
    for row in build_table(runs=4000):
        asked = " (asked for)" if row.n == images_needed(row.discordance, row.drop) else ""
        print(
            f"| {row.drop * 100:g} | {row.discordance:.0%} | {row.n:,}{asked} | {row.harmful_ships:.1%} | "
            f"{row.harmful_ships_of_7:.1%} | {row.harmless_refused:.0%} |"
        )


def _flips(random: np.random.Generator, n: int, drop: float, discordance: float) -> list[tuple[int, int]]:
    """Lost and gained images of every candidate; some changed answers are common to all."""
    probabilities = [discordance / 2 + drop, discordance / 2]
    common = random.choice(3, n, p=[*probabilities, 1 - sum(probabilities)])
    found = []
    for _ in range(CANDIDATES):
        own = random.choice(3, n, p=[*probabilities, 1 - sum(probabilities)])
        counts = np.bincount(np.where(random.random(n) < SHARED, common, own), minlength=3)
        found.append((int(counts[0]), int(counts[1])))
    return found


def _passes(table: Sequence[int], lost: int, gained: int) -> bool:
    return gained < len(table) and lost <= table[gained]


def _pick(looks: Sequence[float], drop: float) -> int:
    """The candidate that the conversion would judge."""
    wanted = Wanted(different=drop, worst_probability=1.0)

    def look(candidate: int) -> Look:
        return Look(different=looks[candidate], worst_probability=0.0)

    return pick(range(len(looks)), look, wanted, lambda: False)[-1].candidate
