"""Reviews a folder of photos that people label: what the labelling page knows besides the labels.

A review names photos that look alike, what the model would answer for each, labels that it contradicts, how many labels
it predicts, and what more of them would bring. It changes no file of the folder.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from eaves.base.statistics import round_outward, split_p_value
from eaves.dataset_folder import DECLARED, is_audit
from eaves.errors import ConfigError, DatasetError, RefusedModelError
from eaves.labels import NOT_USABLE, LabelBook
from eaves.labels_file import Label
from trainer.data.dataset import name_groups, read_records
from trainer.data.groups import group_copies, join_piles
from trainer.data.listing import DataFault, LabelledImage, Listing, describe_audit, render_not_used
from trainer.data.near_duplicates import MIN_SHOTS
from trainer.model.feature_sums import Floats
from trainer.model.label_doubts import JudgedLabels, compute_evened, judge_labels, measure_harm
from trainer.model.learning_curve import CurvePoint, ExpectedGain, measure_curve
from trainer.model.linear_head import LabelledRows, fit_linear
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

MIN_PHOTOS = 4
"""Minimum number of photos of each class, of which no two look alike, with which a review has figures."""

MAX_CHANCE = 0.02
"""Chance of as many doubtful new labels at or below which a model isn't deployed. Simulated with 200 new labels of
flowers beside 100 earlier ones, 0 to 4 % of the batches of right labels are refused so, and all of 25 with 30 % wrong
labels, whose models lose hardly anything on held-out images."""

Values = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReview:
    """What is known about the photos of a folder and their labels.

    Attributes:
        created: Time in UTC when the labels were read, with microseconds as a label's `when` has them: later labels are
            not in the review.
        labelled: Number of photos with a label that can be read.
        piles: Sets of photos of any label, by file, that show nearly the same picture.
        suggestions: `label` and `margin` for each photo: how much the score of that class exceeds the next one's; 1
            is the distance between a photo of a class and one outside it. A labelled photo's are those of a model that
            has seen neither it nor its pile. Photos of the audit sample are in nothing else here.
        disagreements: `file`, `label`, `looks_like` and `margin` of each doubtful label, the most doubtful first; None
            when labels can't be judged.
        harmful: `file`, `label`, `looks_like` and `gain` of the doubtful labels without which the other labels are
            predicted better, by the fall of their mean squared error, the largest first.
        curve: Share of the labels that is predicted by the first 25, 50, ... in the order in which they were given.
        expected: What more labels are expected to bring; None when the curve is too short.
        text: A sentence for people: whether these are enough labels.
        notes: Further sentences.
    """

    created: str
    labelled: int
    piles: Sequence[Sequence[str]]
    suggestions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    disagreements: Values | None = None
    harmful: Values = ()
    curve: Sequence[CurvePoint] = ()
    expected: ExpectedGain | None = None
    text: str = ""
    notes: Sequence[str] = ()


def review_labels(
    folder: Path, *, group_by: str = "", side: int = 0, features: FileStore, progress: TrainingProgress
) -> LabelReview:
    """Review the photos of a folder and their labels.

    Args:
        folder: Folder of a `LabelBook`.
        group_by: Value of `data.group_by`.
        side: Side of the network's input, pixels; 0 is its default.
        features: Storage of cached features; a training finds there what is computed here.
        progress: Receives one step for each photo.

    Raises:
        DatasetError: The folder or `labels.csv` can't be read, or `group_by` matches no photo.
    """
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    images, notes = read_photos(folder, progress)
    audited = [image for image in images if is_audit(image.name)]
    own = images[: len(images) - len(audited)]
    piles, shown, note = find_piles(own, progress)
    labels = [image.label for image in own if image.label]
    review = LabelReview(
        created=created,
        labelled=len(labels),
        piles=[sorted(images[row].name for row in pile) for pile in shown],
        text=f"{len(labels)} of {len(own)} photos have a label",
        notes=[*notes, *describe_audit(len(audited)), *filter(None, [note])],
    )
    names = name_groups(images, join_piles(piles, images), group_by)[0]
    groups = [name or image.digest for name, image in zip(names, images, strict=True)]
    missing = _find_missing(labels, groups)
    if len(set(labels)) > 1 and len(set(groups[: len(labels)])) > 1:
        try:
            values = compute_evened(images, features, progress, side=side)
            with progress.phase("Judging labels", 1) as step, threadpool_limits(1, user_api="blas"):
                review = _judge(review, images, groups, values, has_figures=not missing)
                step()
        except (ConfigError, DatasetError) as error:  # a photo is gone, or the weights aren't installed
            review = replace(review, notes=[*review.notes, f"labels are not judged: {error.message}"])
    return replace(review, text=missing or review.text)


def read_photos(folder: Path, progress: TrainingProgress) -> tuple[list[LabelledImage], list[str]]:
    """Read the usable photos of a folder, and return them with sentences about the others.

    Labelled photos come first, in the order in which people have labelled them. Those that a folder labels come before
    them, in an order that their content gives. Photos of the audit sample come last and have no label here, so that
    nothing is learned from them.
    """
    faults, photos = list[DataFault](), {photo.file: photo for photo in LabelBook(folder).photos()}
    entries = [
        LabelledImage(
            path=folder / file,
            label="" if is_audit(file) else photo.label,
            below=_find_below(file),
            group=photo.group,
        )
        for file, photo in photos.items()
        if photo.label != NOT_USABLE
    ]
    listing = Listing(root=folder, labels=(), entries=tuple(entries), faults=(), declared=False)
    images = list[LabelledImage]()
    for image in read_records(listing, faults, progress):
        if image.fault:
            faults.append(DataFault(file=image.name, reason=image.fault))
        else:
            images.append(image)
    when = {image.name: photos[image.name].when if image.label else "" for image in images}
    images.sort(key=lambda image: (not image.label, is_audit(image.name), when[image.name], image.digest))
    return images, list(render_not_used(faults))


def _find_below(file: str) -> PurePosixPath:
    """Return the path of a photo below the folder of its class, which the folders `train` and `val` may have."""
    parts = file.split("/")
    return PurePosixPath(*parts[1 + (parts[0] in DECLARED and len(parts) > 2) :] or parts)


def find_piles(
    images: Sequence[LabelledImage], progress: TrainingProgress
) -> tuple[list[list[int]], list[list[int]], str]:
    """Return sets of photos that look alike, as their positions, those that one key may label, and perhaps a sentence.

    The sentence tells of a fixed camera. There, good and faulty parts at one place look alike, so each photo is shown.

    Labels don't matter, because a burst that is all that has been labelled of its class is still a pile. A set in which
    people tell two classes apart, each with as many photos as shots by a fixed camera have at least, is no pile; the
    copies of one photo in it are.
    """
    found = group_copies([replace(image, label="") for image in images], "similar", progress)
    piles, mixed = list[list[int]](), set[int]()
    for pile in found.alike:
        sizes = Counter(images[row].label for row in pile if images[row].label).most_common(2)
        if len(sizes) == 2 and sizes[1][1] >= MIN_SHOTS:
            mixed.update(pile)
        else:
            piles.append(pile)
    piles += [copies for copies in found.copies if copies[0] in mixed]
    return piles, [] if found.note else piles, found.note


def _find_missing(labels: Sequence[str], groups: Sequence[str]) -> str:
    """Return what the labels lack for figures; empty when nothing is missing."""
    found = defaultdict[str, set[str]](set)
    for label, group in zip(labels, groups, strict=False):  # unlabelled photos follow
        found[label].add(group)
    if len(found) < 2:
        return f"label photos of two classes or more{''.join(f'; only {name} has some' for name in found)}"
    few = [f"{MIN_PHOTOS - len(found[name])} of {name}" for name in sorted(found) if len(found[name]) < MIN_PHOTOS]
    needed = f"each class needs {MIN_PHOTOS} photos that do not look alike"
    return f"{needed}; label more photos: {', '.join(few)}" if few else ""


def _judge(
    review: LabelReview,
    images: Sequence[LabelledImage],
    groups: Sequence[str],
    values: npt.NDArray[np.float32],
    *,
    has_figures: bool,
) -> LabelReview:
    """Return the review with suggestions and, if the labels are enough for them, with its figures.

    Args:
        review: The review so far.
        images: The photos, labelled ones first.
        groups: Name of the group of each photo.
        values: Features of the photos.
        has_figures: Whether the labels are enough for figures.
    """
    count = review.labelled
    names, known = sorted({image.label for image in images[:count]}), values[:count]
    rows = LabelledRows.of([names.index(image.label) for image in images[:count]], groups[:count])
    curve = measure_curve(known, rows) if has_figures else None
    judged = curve.judged if curve else judge_labels(known, rows)
    head = fit_linear(judged.recipe, known, rows)
    review = replace(review, suggestions=_suggest(images, names, np.vstack([judged.scores, head(values[count:])])))
    if curve is None:
        return review
    points, expected = curve.points(), curve.expect()
    low, high = round_outward((points[-1].low, points[-1].high), 2)
    text = (
        f"{points[-1].accuracy:.0%} of {count} labels are predicted by a model that has not seen them "
        f"({low:.0%} to {high:.0%} with 95 % confidence)"
    )
    review = replace(review, curve=points, expected=expected, text=f"{text}; {expected.text}" if expected else text)
    can_doubt, sentence = judged.describe(names)
    if not can_doubt:
        return replace(review, notes=[*review.notes, sentence])
    disagreements, harmful = _find_doubts(images, names, known, judged)
    return replace(review, disagreements=disagreements, harmful=harmful)


def _suggest(images: Sequence[LabelledImage], names: Sequence[str], scores: Floats) -> Mapping[str, Mapping[str, Any]]:
    """Return the class of the best score of each photo, and its margin over the next best class."""
    best, ordered = scores.argmax(axis=1).tolist(), np.sort(scores, axis=1)
    margins = (ordered[:, -1] - ordered[:, -2]).tolist()
    return {
        image.name: {"label": names[row], "margin": round(margin, 4)}
        for image, row, margin in zip(images, best, margins, strict=True)
    }


def _find_doubts(
    images: Sequence[LabelledImage], names: Sequence[str], known: npt.NDArray[np.float32], judged: JudgedLabels
) -> tuple[Values, Values]:
    """Return `disagreements` and `harmful` of a review."""
    doubtful = judged.find_doubtful()
    gains = measure_harm(known, judged, doubtful)

    def describe(row: int) -> dict[str, Any]:
        image = images[row]
        return {"file": image.name, "label": image.label, "looks_like": names[judged.predicted[row]]}

    harmful = [number for number in np.argsort(-gains, kind="stable").tolist() if gains[number] > 0]
    return (
        [describe(row) | {"margin": float(judged.margins[row])} for row in doubtful],
        [describe(doubtful[number]) | {"gain": float(gains[number])} for number in harmful],
    )


def check_new_labels(review: Mapping[str, Any], labels: Sequence[Label], since: str) -> str:
    """Check that the labels given since a model was trained contradict the others no more often than those before.

    Args:
        review: Content of a review's file, of these labels.
        labels: The labelled photos.
        since: Time when the labels of the model that serves were read, as in `Label.when`.

    Returns:
        A line with the figures, or why there are none; empty without new labels or earlier ones.

    Raises:
        RefusedModelError: The new labels are doubtful more often than chance explains.
    """
    disagreements = review.get("disagreements")
    if disagreements is None:
        return "labels are too few, or too hard to predict, to tell whether the new ones contradict the others"
    doubtful = {one["file"] for one in disagreements}
    new = [photo.file in doubtful for photo in labels if photo.when > since]
    earlier = [photo.file in doubtful for photo in labels if photo.when <= since]
    return check_doubts(sum(new), len(new), sum(earlier), len(earlier)) if new and earlier else ""


def check_doubts(doubtful: int, new: int, doubtful_before: int, before: int) -> str:
    """Check numbers of doubtful labels, as `check_new_labels` does."""
    figures = (
        f"the other images contradict {doubtful} of the {new} labels that are new, and {doubtful_before} of {before} "
        "earlier ones"
    )
    if split_p_value(doubtful, new, doubtful_before, before) > MAX_CHANCE:
        return figures
    raise RefusedModelError(
        f"the model is refused: {figures}, which is more than chance explains",
        hint="look at the list of disagreements on the page Labels, correct the wrong labels, and train again",
    )
