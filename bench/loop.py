"""Benchmark of the loop: which images are worth a label, which batches of labels are deployed, and what drift is found.

The photos are the flowers beside the checkout, 650 of 5 classes. A model is a head on features of the default network,
as `eaves train --mode sums` makes it; the checks are those of the gate. Each draw divides the photos anew.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image
from threadpoolctl import threadpool_limits

from bench.material import SHARED, Setup
from bench.report import Figure, Section, Table, UnavailableError
from converters.evaluation.metrics import Pairing
from converters.gate import check_replacement
from converters.settings import PipelineSettings
from eaves.base.statistics import wilson
from eaves.errors import RefusedModelError
from trainer.data.listing import LabelledImage
from trainer.grouped_statistics import JudgedImages, mean_interval
from trainer.labelling import check_doubts
from trainer.model.feature_sums import STRENGTHS, FeatureSums, Labels, LinearHead
from trainer.model.label_doubts import compute_evened, judge_labels
from trainer.model.linear_head import LabelledRows, shorten
from trainer.progress import SILENT
from trainer.storage import open_store

SEEDS, LOOPS, AUDITS = 10, 100, 1000
"""Numbers of draws of the curves, of simulated loops for each kind of batch, and of audit samples."""
START, BATCH, POINTS = 20, 10, (30, 50, 70, 110, 150, 210)
"""Labels at the beginning, labels in a batch, and the numbers of labels at which a head is judged."""
MIXED = 0.8
"""Share of a batch of the rule `mix` that is chosen by margin; the rest is drawn at random, as an audit sample is."""
FIRST, ADDED, HELD_OUT, WRONG = 100, 200, 200, 0.3
"""A simulated loop: labels of the serving model, added labels, held-out photos, share of wrong ones in a bad batch."""
RARE_SHARE, RARE_LABELS = 0.05, 60

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Features of the photos, (N, D), and the index of each photo's class, (N,)."""

    features: npt.NDArray[np.float32]
    truth: Labels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.truth.max()) + 1

    def fit(self, rows: Labels, labels: Labels | None = None) -> LinearHead:
        """Return the head of some photos, (M,), with their own or with other labels."""
        truth, names = self.truth[rows] if labels is None else labels, [str(one) for one in range(self.classes)]
        shortened, mean, basis = shorten(self.features[rows])
        head = FeatureSums.of(shortened, truth, names, groups=len(rows)).solve(STRENGTHS)[1]
        kernel = head.kernel if basis is None else basis @ head.kernel
        return LinearHead(kernel=kernel, bias=head.bias if basis is None else head.bias - mean @ kernel)

    def margins(self, head: LinearHead, rows: Labels) -> Floats:
        """Return the distance of the two highest scores of photos, (M,)."""
        scores = np.sort(head(self.features[rows]), axis=1)
        return np.asarray(scores[:, -1] - scores[:, -2])

    def is_right(self, head: LinearHead, rows: Labels) -> npt.NDArray[np.bool_]:
        """Return whether a head answers photos correctly, (M,)."""
        return np.asarray(head(self.features[rows]).argmax(axis=1) == self.truth[rows])


def load_photos(change: Callable[[Image.Image], Image.Image] | None = None) -> Photos:
    """Return the flowers with their features, as they are or changed.

    Raises:
        UnavailableError: The photos are not beside the checkout.
    """
    paths = sorted((SHARED / "data/flowers").glob("*/*/*.jpg"))
    if not paths:
        raise UnavailableError("the photos of flowers are not beside the checkout")
    names = sorted({path.parent.name for path in paths})
    images = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            file = path
            if change is not None:
                file = Path(folder, f"{number}.png")
                with Image.open(path) as image:
                    change(image.convert("RGB")).save(file)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            below = PurePosixPath(file.name)
            images.append(LabelledImage(path=file, label=path.parent.name, below=below, digest=digest))
        features = compute_evened(images, open_store(f"{folder}/features"), SILENT)
    return Photos(features=features, truth=np.array([names.index(image.label) for image in images], np.int64))


def choose(photos: Photos, rule: str, known: Labels, pool: Labels, random: np.random.Generator) -> Labels:
    """Return the photos of a pool, `BATCH` of them, that a rule would have labelled next: random, margin or mix."""
    by_margin = {"random": 0, "margin": BATCH, "mix": round(MIXED * BATCH)}[rule]
    ordered = pool[np.argsort(photos.margins(photos.fit(known), pool), kind="stable")]
    return np.concatenate([ordered[:by_margin], random.permutation(ordered[by_margin:])[: BATCH - by_margin]])


def measure_curve(photos: Photos, rule: str, seed: int) -> list[float]:
    """Return the accuracy on photos that are never chosen, after each number of labels of `POINTS`."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(photos.truth))
    judged, known, pool = order[:150], order[150 : 150 + START], order[150 + START :]
    found = []
    while len(known) < POINTS[-1]:
        new = choose(photos, rule, known, pool, random)
        known, pool = np.concatenate([known, new]), pool[~np.isin(pool, new)]
        if len(known) in POINTS:
            found.append(float(photos.is_right(photos.fit(known), judged).mean()))
    return found


def count_rare(photos: Photos, rule: str, seed: int) -> float:
    """Return how many photos of a rare class the first `RARE_LABELS` labels after the start have found."""
    random = np.random.default_rng(seed)
    rare = seed % photos.classes
    of_rare, others = np.flatnonzero(photos.truth == rare), np.flatnonzero(photos.truth != rare)
    kept = random.permutation(of_rare)[: round(RARE_SHARE / (1 - RARE_SHARE) * len(others))]
    pool = random.permutation(np.concatenate([random.permutation(others), kept[2:]]))
    known = np.concatenate([random.permutation(others)[: START - 2], kept[:2]])
    pool, first = pool[~np.isin(pool, known)], len(known)
    while len(known) < first + RARE_LABELS:
        new = choose(photos, rule, known, pool, random)
        known, pool = np.concatenate([known, new]), pool[~np.isin(pool, new)]
    return float(np.count_nonzero(photos.truth[known] == rare) - 2)


def is_deployed(photos: Photos, wrong: float, seed: int) -> bool:
    """Simulate one loop, and return whether the gate lets the model with the added labels take over.

    The added labels are chosen by margin and at random; a share of them is wrong.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(photos.truth))
    held_out, known, pool = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + FIRST], order[HELD_OUT + FIRST :]
    serving = photos.fit(known)
    ordered = pool[np.argsort(photos.margins(serving, pool), kind="stable")]
    chosen = round(MIXED * ADDED)
    rows = np.concatenate([known, ordered[:chosen], random.permutation(ordered[chosen:])[: ADDED - chosen]])
    labels = photos.truth[rows].copy()
    mistaken = FIRST + random.choice(ADDED, round(wrong * ADDED), replace=False)
    labels[mistaken] = (labels[mistaken] + random.integers(1, photos.classes, len(mistaken))) % photos.classes
    judged = judge_labels(photos.features[rows], LabelledRows.of(labels.tolist()))
    is_doubtful = np.zeros(len(rows), bool)
    is_doubtful[judged.find_doubtful()] = True
    pairing = Pairing(
        judged=JudgedImages(held_out.tolist()),
        first=photos.is_right(serving, held_out),
        second=photos.is_right(photos.fit(rows, labels), held_out),
    )
    try:
        check_doubts(int(is_doubtful[FIRST:].sum()), ADDED, int(is_doubtful[:FIRST].sum()), FIRST)
        check_replacement(pairing, "the serving model", PipelineSettings())
    except RefusedModelError:
        return False
    return True


def covers(photos: Photos, seed: int) -> bool:
    """Return whether the interval of an audit sample of 50 to 150 images holds the accuracy on all of them."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(photos.truth))
    right = photos.is_right(photos.fit(order[:FIRST]), order[FIRST:])
    audit = random.choice(right, int(random.integers(50, 151)))
    low, high = wilson(float(audit.sum()), len(audit))
    return bool(low <= right.mean() <= high)


def compare_rules(found: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    """Return the table of mean accuracies, and of the gains over random choice with their intervals over draws."""
    rows = []
    for rule, curves in found.items():
        gains = np.subtract(curves, found["random"])
        cells = []
        for column, value in enumerate(np.mean(curves, axis=0)):
            low, high = mean_interval(gains[:, column], range(len(gains)))
            cells.append(f"{value:.3f}" if rule == "random" else f"{value:.3f} ({100 * low:+.1f} to {100 * high:+.1f})")
        rows.append((rule, *cells))
    title = (
        f"Accuracy on 150 other photos by the number of labels, mean of {len(found['random'])} draws, and the gain "
        "over random choice in points with its 95 % interval:"
    )
    return Table(title=title, heads=("chosen by", *map(str, POINTS)), rows=tuple(rows))


def measure(setup: Setup) -> Section:
    """Measure curves, rare classes and simulated loops."""
    seeds, loops = setup.rounds(SEEDS), setup.rounds(LOOPS)
    with threadpool_limits(1):
        photos = load_photos()
        rules = ("random", "margin", "mix")
        curves = {rule: [measure_curve(photos, rule, seed) for seed in range(seeds)] for rule in rules}
        rare = {rule: [count_rare(photos, rule, seed) for seed in range(seeds)] for rule in rules}
        deployed = {wrong: sum(is_deployed(photos, wrong, seed) for seed in range(loops)) for wrong in (0.0, WRONG)}
        covered = sum(map(partial(covers, photos), range(setup.rounds(AUDITS))))
    scale, audits = 100 / loops, setup.rounds(AUDITS)
    figures = (
        Figure(name="right batches that are deployed, of 100", value=deployed[0.0] * scale, bar=90, is_minimum=True),
        Figure(name="batches with 30 % wrong labels that are deployed, of 100", value=deployed[WRONG] * scale, bar=5),
        Figure(
            name="audit accuracy within its interval, of 1,000",
            value=covered * 1000 / audits,
            bar=930,
            is_minimum=True,
        ),
    )
    found = Table(
        title=f"Photos of a class with {RARE_SHARE:.0%} of the pool among {RARE_LABELS} labels, mean of {seeds} draws:",
        heads=("chosen by", "found"),
        rows=tuple((rule, f"{statistics.mean(values):.1f}") for rule, values in rare.items()),
    )
    return Section(figures=figures, tables=(compare_rules(curves), found))
