"""Benchmark of how often the conversion makes a wrong choice between an int8 model and fp32.

The gate is the part of a conversion that uses (ships) an int8 graph, or refuses it and uses fp32. A harmful graph loses
exactly the drop of accuracy that is allowed, so using it counts as a mistake; a harmless graph loses no accuracy. The
probabilities are computed without a model.

`python -m bench int8_gate` prints the two tables of docs/02-conversion.md. The first table is for the test by labels
alone. The second table is for the whole gate, which also tests how often int8 and fp32 give the same label (agreement);
both tables leave out the rules for single classes.

Discordance is the share of images that exactly one of the two graphs classifies correctly. An image is lost if only
fp32 classifies it correctly, and gained if only int8 does. For a harmless graph, half of the discordant images are lost
and half are gained; a harmful graph loses the allowed drop of accuracy in addition. The second table assumes that no
image gets two different wrong labels, which would reduce agreement, and that photos without labels resemble the
labelled images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from converters.int8.evidence import AGREEMENT_IMAGES, CONFIDENCE, labels_suffice
from converters.int8.images import AT_MOST
from converters.int8.precision_choice import SHARE_ON_TRAINED
from converters.settings import ConvertSettings
from eaves.base.statistics import images_needed, lower_bound, paired_p_value, tango_score

DROPS = (0.01, 0.03)
DISCORDANCES = (0.02, 0.04, 0.08)
IMAGES = (150, 500, 1250, 2500, 5000)
CANDIDATES = 7
PICKING_IMAGES = 200
SHARED = 0.6
"""Share of the predictions changed by one int8 candidate that all candidates change, in the simulation."""
RUNS = 200_000
"""Number of simulated conversions per row; a probability of 5 % is then exact to 0.1 percentage points."""

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table for int8 graphs that are tested on labelled images only; all shares are fractions of 1.

    Attributes:
        drop: Maximum allowed loss of accuracy.
        discordance: Share of images that exactly one of the fp32 and int8 graphs classifies correctly.
        n: Number of labelled images.
        harmful_ships: Probability that a conversion uses an int8 graph that loses the allowed drop of accuracy.
        harmful_ships_of_7: Probability that a conversion uses an int8 graph that was chosen among 7, all of which lose
            the allowed drop.
        harmless_refused: Probability that a conversion refuses an int8 graph that loses no accuracy.
    """

    drop: float
    discordance: float
    n: int
    harmful_ships: float
    harmful_ships_of_7: float
    harmless_refused: float


@cache
def passing(n: int, drop: float) -> tuple[int, ...]:
    """Return the maximum number of lost images with which int8 is accepted, for each number of gained images.

    An image is lost if only fp32 classifies it correctly, and gained if only int8 does. -1 means that no number of lost
    images is accepted.

    The conversion accepts an outcome by its p-value, which increases with the score of Tango's test. So one limit of
    the score separates accepted outcomes from others, and a bisection over the outcomes in the order of their scores
    finds it.
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
    """Return the exact probability that an int8 graph is accepted by its results on labelled images alone.

    `lost_share` is the share of images that only fp32 classifies correctly, and `gained_share` that of images that only
    int8 does.
    """
    log_factorials = _log_factorials(n)
    total = 0.0
    for gained, most in enumerate(passing(n, drop)):
        lost = np.arange(min(most, n - gained) + 1)
        same = n - lost - gained
        ways = log_factorials[n] - log_factorials[lost] - log_factorials[gained] - log_factorials[same]
        logs = lost * math.log(lost_share) + gained * math.log(gained_share)
        total += float(np.exp(ways + logs + same * math.log1p(-lost_share - gained_share)).sum())
    return total


def whole(n: int, drop: float, lost_share: float, gained_share: float, *, photos: int = 0) -> float:
    """Return the exact probability that an int8 graph is accepted, by its results on labelled images or by agreement.

    Agreement is the share of images for which int8 and fp32 give the same label.

    Args:
        n: Number of labelled images.
        drop: Maximum allowed loss of accuracy.
        lost_share: Share of images that only fp32 classifies correctly.
        gained_share: Share of images that only int8 classifies correctly.
        photos: Number of photos without labels, which are used for the test of agreement.
    """
    limits = np.array(passing(n, drop))[:, np.newaxis]  # rows: gained
    lost, gained = np.arange(len(limits))[np.newaxis, :], np.arange(len(limits))[:, np.newaxis]
    same = np.maximum(0, n - lost - gained)
    steps = _log_factorials(n)
    logs = steps[n] - steps[np.minimum(lost, n)] - steps[np.minimum(gained, n)] - steps[same]
    logs += same * math.log1p(-lost_share - gained_share)
    for count, share in ((lost, lost_share), (gained, gained_share)):
        logs += count * math.log(share) if share else np.where(count > 0, -np.inf, 0.0)
    by_labels = lost <= limits
    agrees = _agrees(n, drop, photos, lost_share + gained_share, 2 * len(limits))[lost + gained]
    ships = np.where(by_labels, 1.0, np.where(lost - gained <= drop * n, agrees, 0.0))
    return float((np.exp(logs) * ships)[lost + gained <= n].sum())


def _agrees(n: int, drop: float, photos: int, share: float, size: int) -> Floats:
    """Return the probability that int8 is tested by its agreement with fp32 and passes.

    The test uses the `n` labelled images first; the unlabelled photos are added only when it doesn't pass on these.

    Args:
        n: Number of labelled images.
        drop: Allowed loss of accuracy, a fraction of 1.
        photos: Number of unlabelled photos.
        share: Probability that int8 and fp32 give a photo different labels.
        size: Length of the result.

    Returns:
        probabilities: (size,); element `i` is for `i` labelled images with different labels.
    """
    differing = np.arange(size)
    asked = np.array([not labels_suffice(int(count), 0, n, drop) for count in differing])
    binomial = _log_factorials(photos)[photos] - _log_factorials(photos) - _log_factorials(photos)[::-1]
    counts = np.arange(photos + 1)
    below = np.cumsum(np.exp(binomial + counts * math.log(share) + (photos - counts) * math.log1p(-share)))
    left = _most_that_differ(n + photos) - differing
    with_photos = np.where(left >= 0, below[np.clip(left, 0, photos)], 0.0)
    return np.asarray(asked * np.where(differing <= _most_that_differ(n), 1.0, with_photos))


@cache
def _most_that_differ(images: int) -> int:
    """Return the maximum number of images with different labels from int8 and fp32 with which int8 is accepted.

    This is the test by agreement, which needs no true labels. -1 means that int8 is never accepted.
    """
    wanted = ConvertSettings().min_agreement
    most = -1
    while images >= AGREEMENT_IMAGES and lower_bound(images - most - 1, images, CONFIDENCE) >= wanted:
        most += 1
    return most


@cache
def _log_factorials(n: int) -> Floats:
    """Return an array with the natural logarithm of k! at index k, for k from 0 to n."""
    return np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1.0, n + 1)))])


def ships_of_many(n: int, drop: float, discordance: float, *, runs: int, on_judged: bool = False) -> float:
    """Return how often conversions use a harmful int8 graph when they choose among 7, as a share of simulated runs.

    Each of the 7 graphs loses the allowed drop of accuracy.

    Args:
        n: Number of labelled images.
        drop: Maximum allowed loss of accuracy.
        discordance: Share of images that exactly one graph classifies correctly.
        runs: Number of simulated conversions.
        on_judged: True: each graph is tested on the labelled images until one is accepted, as in earlier versions.
            False: one graph is chosen on other images, and only that one is tested.
    """
    random = np.random.default_rng(0)
    limits = np.array(passing(n, drop))
    lost, gained = _flips(random, n, drop, discordance, runs)
    passes = lost <= np.where(gained < len(limits), limits[np.minimum(gained, len(limits) - 1)], -1)
    if on_judged:
        return float(passes.any(axis=1).mean())
    different = np.add(*_flips(random, PICKING_IMAGES, drop, discordance, runs)) / PICKING_IMAGES
    good = different <= SHARE_ON_TRAINED * drop
    picked = np.where(
        good.any(axis=1), good.argmax(axis=1), different.argmin(axis=1)
    )  # as in converters.int8.precision_choice
    return float(passes[np.arange(runs), picked].mean())


def build_table(runs: int, images: Sequence[int] = IMAGES) -> list[Row]:
    """Build the rows of the table for int8 graphs that are tested on labelled images only.

    There is a row for each of `images`, and one for the number of labelled images that a conversion asks for in that
    case.
    """
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
    """Print both tables: int8 graphs that are tested on labelled images only, and the whole test with agreement."""
    _print_by_labels()
    print()
    _print_whole()


def _print_whole() -> None:
    """Print how often int8 graphs are accepted or refused by the whole test, which includes agreement with fp32.

    Each cell has the share without unlabelled photos, and with as many of them as a conversion uses at most.
    """
    print("| may lose, points | discordance | labelled | bad one ships | twice as bad one ships | good one refused |")
    print("|---|---|---|---|---|---|")
    for drop in DROPS:
        for discordance in DISCORDANCES:
            for n in IMAGES:
                half = discordance / 2
                cells = []
                for loss in (drop, 2 * drop, 0.0):
                    shares = [whole(n, drop, half + loss, half, photos=photos) for photos in (0, AT_MOST - n)]
                    shown = [share if loss else max(0.0, 1 - share) for share in shares]
                    cells.append(", ".join(f"{share:.0%}" for share in shown))
                print(f"| {drop * 100:g} | {discordance:.0%} | {n:,} | {' | '.join(cells)} |")


def _print_by_labels() -> None:
    """Print how often int8 graphs are accepted or refused when they are tested on labelled images only."""
    print("| may lose, points | discordance | images | bad one ships by labels | ... picked of 7 | good one refused |")
    print("|---|---|---|---|---|---|")
    for row in build_table(runs=RUNS):
        asked = " (asked for)" if row.n == images_needed(row.discordance, row.drop) else ""
        print(
            f"| {row.drop * 100:g} | {row.discordance:.0%} | {row.n:,}{asked} | {row.harmful_ships:.2%} | "
            f"{row.harmful_ships_of_7:.2%} | {max(0.0, row.harmless_refused):.0%} |"
        )


def _flips(random: np.random.Generator, n: int, drop: float, discordance: float, runs: int) -> tuple[Counts, Counts]:
    """Return simulated numbers of lost and of gained images, two arrays of shape (runs, candidates).

    An image is lost if only fp32 classifies it correctly, and gained if only int8 does. The candidates of one run have
    some of these images in common.
    """
    shares = np.array([discordance / 2 + drop, discordance / 2, 1 - discordance - drop])
    common = random.multinomial(n, shares, size=runs)[:, np.newaxis, :]
    kept = random.binomial(np.broadcast_to(common, (runs, CANDIDATES, 3)), SHARED)
    own = random.multinomial(n - kept.sum(axis=2), shares)
    return kept[..., 0] + own[..., 0], kept[..., 1] + own[..., 1]
