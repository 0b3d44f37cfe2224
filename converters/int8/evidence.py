"""Assesses an int8 graph by its predictions on images that the model was not trained on, and explains the decision.

With labels, int8 passes when the upper bound of its loss of accuracy, with 95 % confidence, is within the allowed loss.
With agreement, int8 passes when the lower bound of the share of images on which it gives fp32's label reaches the
wanted share, over at least `AGREEMENT_IMAGES` images; a test by agreement needs no labels. It is not used when the
labelled images show too large a loss, or when there are enough labelled images to decide.

The accuracy of a single class may fall by `CLASS_FACTOR` times the loss that is allowed for all images together. A
class fails only when the images show that its loss is larger: the opposite rule, to demand proof that the loss is
smaller, would refuse every class with few images. The error of 5 % is divided by the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from converters.settings import ConvertSettings
from eaves.artifact.manifest import AGREEMENT, LABELS, MAP, NONE, Evidence, Parity
from eaves.base.statistics import images_needed, lower_bound, round_outward
from trainer.grouped_statistics import CONFIDENCE, JudgedImages

NO_LABEL = -1
"""Value for an image without a label in an array of true labels."""
CLASS_FACTOR = 2.0
"""Factor of the allowed loss or difference for one class; int8's losses are uneven, and 2 keeps a class usable."""
AGREEMENT_IMAGES = 500
"""Minimum number of images for an assessment by agreement. If an agreement of 95 % is wanted, int8 may give another
label than fp32 to 15 of these images."""
PRIOR_DIFFERENT, PRIOR_IMAGES = 1, 50
"""Counts of a prior that are added to the observed counts when the share of images that exactly one of fp32 and int8
classifies correctly is estimated, so that the estimate is 2 % without images and never 0. int8 graphs of Inception V3
differed from fp32 on 2 to 7 % of answers."""

Indices = npt.NDArray[np.int64]


def assess_candidate(
    truth: Indices,
    fp32: Indices,
    int8: Indices,
    labels: Sequence[str],
    settings: ConvertSettings,
    *,
    groups: Sequence[str] | None = None,
    is_balanced: bool = False,
) -> Evidence:
    """Assess an int8 graph that was not selected on these images.

    Args:
        truth: (N,) true label of every image, or `NO_LABEL`.
        fp32: (N,) label that fp32 gives every image.
        int8: (N,) label that int8 gives every image.
        labels: Class names.
        settings: Settings with the allowed loss of accuracy, and the smallest allowed agreement.
        groups: (N,) name of each image's group; None if every image is a group.
        is_balanced: Whether the loss is that of the mean recall, and not of the accuracy.
    """
    allowed, least = settings.max_accuracy_drop / 100, settings.min_agreement
    of_a_class = min(1.0, CLASS_FACTOR * allowed)
    everything = JudgedImages(range(len(truth)) if groups is None else groups)
    known = truth != NO_LABEL
    n = int(known.sum())
    judged = JudgedImages(everything.groups[known], truth[known] if is_balanced else None)
    right_fp32, right_int8 = fp32[known] == truth[known], int8[known] == truth[known]
    lost, gained = int((right_fp32 & ~right_int8).sum()), int((~right_fp32 & right_int8).sum())
    bound = judged.bound_drop(right_fp32, right_int8, CONFIDENCE)
    by_class = JudgedImages(judged.groups, truth[known])
    change = right_fp32.astype(np.float64) - right_int8
    beyond = shown_above(by_class, change, len(labels), of_a_class)
    images, same = len(truth), fp32 == int8
    alike = math.floor(everything.count_worth(same.astype(np.float64)) + 1e-9)
    agreement_bound = lower_bound(math.floor(float(same.mean()) * alike + 1e-9), alike, CONFIDENCE) if alike else 0.0
    by_labels = n > 0 and bound <= allowed and not beyond
    drop = judged.average(change)
    contradicted = bool(beyond) or drop > allowed
    worth = judged.count_worth(change)  # the planning of more images counts those that are independent
    scale = worth / n if n else 1.0
    counted = lost * scale, gained * scale, max(1, round(worth)) if n else 0
    # With so many labelled images a graph that fails by labels probably loses accuracy, so labels decide alone:
    # agreement with fp32 doesn't show which answers are right, so it could still pass the graph.
    suffices = allowed > 0 and counted[2] >= images_needed(_discordance(*counted), allowed)
    kind, passed = LABELS if n else NONE, by_labels
    if not (by_labels or contradicted or suffices) and images >= AGREEMENT_IMAGES:
        kind = AGREEMENT
        by_label = JudgedImages(everything.groups, fp32)
        beyond = shown_above(by_label, (~same).astype(np.float64), len(labels), min(1.0, CLASS_FACTOR * (1 - least)))
        passed = agreement_bound >= least and not beyond
    return Evidence(
        kind=kind,
        passed=passed,
        labelled_images=n,
        lost=lost,
        gained=gained,
        drop=drop,
        drop_bound_95=bound,
        images=images,
        agreement=float(same.mean()) if images else 0.0,
        agreement_bound_95=agreement_bound,
        min_agreement=least,
        classes_beyond=tuple(labels[index] for index in beyond),
        missing_labelled=0 if by_labels else math.ceil(count_missing(*counted, allowed) / scale),
        missing_images=0 if suffices else max(0, AGREEMENT_IMAGES - images),
    )


def can_pass(labelled: int, images: int, drop: float) -> bool:
    """Return whether int8 could pass with these numbers of images if it gave the same answers as fp32.

    Args:
        labelled: Number of images with labels.
        images: Number of images with and without labels.
        drop: Loss of accuracy that is allowed, a fraction of 1.
    """
    return images >= AGREEMENT_IMAGES or drop <= 0 or labelled >= images_needed(0.0, drop)


def count_missing(lost: float, gained: float, n: int, drop: float) -> int:
    """Return how many more labelled images would show that int8 lost at most `drop`.

    If int8 loses nothing on average, that number of images shows it in at least 80 % of cases. If there are as many
    images already, the result is computed from the observed loss. The result is 0 if no number would show it, because
    int8 lost as much as is allowed.

    Args:
        lost: Number of images that only fp32 classifies correctly.
        gained: Number of images that only int8 classifies correctly.
        n: Number of labelled images.
        drop: Loss of accuracy that is to be excluded, a fraction of 1.
    """
    if drop <= 0:
        return 0
    discordance = _discordance(lost, gained, n)
    missing = images_needed(discordance, drop) - n
    if missing <= 0 and (left := drop - max(0, lost - gained) / n) > 0:
        missing = max(images_needed(discordance, left) - n, math.ceil(n / 10))
    return max(0, missing)


def _discordance(lost: float, gained: float, n: int) -> float:
    """Return the estimated share of images that exactly one of fp32 and int8 classifies correctly."""
    return (lost + gained + PRIOR_DIFFERENT) / (n + PRIOR_IMAGES)


def shown_above(judged: JudgedImages, values: npt.NDArray[np.float64], classes: int, allowed: float) -> list[int]:
    """Return the strata whose mean value exceeds `allowed`, as far as the images show it (95 %, Bonferroni)."""
    counts, totals = judged.count_strata(values, classes)
    confidence = 1 - (1 - CONFIDENCE) / max(1, int(np.count_nonzero(totals)))
    suspects = (index for index in range(classes) if counts[index] > allowed * totals[index])
    return [index for index in suspects if lower_bound(int(counts[index]), int(totals[index]), confidence) > allowed]


def explain(evidence: Evidence, max_drop: float) -> str:
    """Explain what the evidence shows, and what is missing if the evidence doesn't suffice.

    Args:
        evidence: Result of `assess_candidate`.
        max_drop: Allowed loss of accuracy, a fraction of 1.
    """
    if evidence.kind == AGREEMENT:
        return _explain_agreement(evidence)
    if not evidence.labelled_images:
        return f"no image has a label; {_ask_for_photos(evidence)}"
    # The bound is rounded up, so that it is never understated, as the one below is rounded down.
    at_most = f"{math.ceil(evidence.drop_bound_95 * 1000 - 1e-6) / 10:.1f}".removesuffix(".0")
    change = f"gained {_points(-evidence.drop)}" if evidence.drop < 0 else f"lost {_points(evidence.drop)}"
    images = f"{evidence.labelled_images:,} images"
    text = f"int8 {change} on {images}, and loses at most {at_most} on others with 95 % confidence"
    if evidence.classes_beyond:
        return f"{text}; the accuracy of {', '.join(evidence.classes_beyond)} dropped too much"
    if evidence.passed:
        return text
    if not evidence.missing_labelled or evidence.drop > max_drop:
        return f"{text}; the limit is {_points(max_drop)}"
    more = f"{round_up(evidence.missing_labelled)} more labelled images would be enough to decide"
    photos = f", or {_ask_for_photos(evidence)}" if evidence.missing_images else ""
    return f"{text}; the limit is {_points(max_drop)}: {more}{photos}"


def explain_difference(parity: Parity, worst: Mapping[str, float]) -> str:
    """Explain how far the answers of an int8 graph are from the original's, when they differ by more than allowed.

    An anomaly's p-value and threshold follow from scores of the fp32 graph, so a map that differs is a fault, too.
    """
    text = (
        f"the int8 answers differ too much: the same label on {parity.top1_agreement:.1%} of {parity.images} "
        f"samples (at least {parity.min_agreement:.0%} required), a probability off by "
        f"{parity.max_abs_error_probabilities:.4f} (at most {parity.tolerance:g} allowed)"
    )
    return f"{text}, a score at a position off by {worst[MAP]:.0%} of the highest" if MAP in worst else text


def round_up(images: int) -> str:
    """Round a number of images up to two significant digits: 1,300 for 1,243."""
    unit: int = 10 ** max(0, len(str(images)) - 2)
    return f"{math.ceil(images / unit) * unit:,}"


def _explain_agreement(evidence: Evidence) -> str:
    at_least, _ = round_outward((evidence.agreement_bound_95, evidence.agreement_bound_95), 3)
    verb = "agrees" if evidence.passed else "agrees too little"
    text = (
        f"int8 {verb} with fp32: on {evidence.agreement:.1%} of {evidence.images:,} images, at least "
        f"{at_least:.1%} with 95 % confidence, {evidence.min_agreement:.0%} required"
    )
    if evidence.classes_beyond:
        text += f"; its answers differ on too many images of {', '.join(evidence.classes_beyond)}"
    if evidence.missing_labelled:
        text += f"; {round_up(evidence.missing_labelled)} more labelled images would be enough to measure its accuracy"
    return text


def _ask_for_photos(evidence: Evidence) -> str:
    return (
        f"{evidence.missing_images:,} more photos without labels (convert.unlabelled) would be enough to "
        "compare it with fp32"
    )


def _points(share: float) -> str:
    """Format a share as `0.7 points` or `1 point`."""
    number = f"{share * 100:.1f}".removesuffix(".0")
    return f"{number} point" if number == "1" else f"{number} points"
