"""Results of a conversion that the manifest records: the parity proof and the int8 table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.config import setting

INT8, FP32 = "int8", "fp32"
LABELS, AGREEMENT, NONE = "labels", "agreement", "none"
"""Kinds of evidence for an int8 graph: accuracy on labelled images, agreement with the fp32 graph, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Proof that the converted model gives the trained model's outputs on real images, from encoded bytes to logits."""

    images: int = setting(0, "Number of images on which the two models were compared.", minimum=0)
    max_abs_error: float = setting(0.0, "Largest absolute difference between the two models in one logit.", minimum=0)
    max_abs_error_probabilities: float = setting(
        0.0, "Largest absolute difference between the two models in one probability.", minimum=0
    )
    max_rel_error: float = setting(
        0.0, "Largest difference of a logit, relative to the largest logit of the same image.", minimum=0
    )
    top1_agreement: float = setting(
        0.0, "Share of images for which both models predict the same label.", minimum=0, maximum=1
    )
    tolerance: float = setting(
        0.0,
        "Largest absolute difference allowed: in logits and probabilities for fp32, in probabilities for int8.",
        minimum=0,
    )
    min_agreement: float = setting(1.0, "Smallest share of equal labels that passes.", minimum=0, maximum=1)
    passed: bool = setting(False, "Result of the comparison; an artifact that fails is never written.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of the int8 table: a candidate of the search. Only the chosen candidate's accuracy is measured."""

    kept_fp32: tuple[str, ...] = setting((), "Layers kept in fp32, besides the classification head.")
    judged: bool = setting(
        True, "True if this trial was judged; only judged trials have accuracy, interval, agreement and drop."
    )
    picking_agreement: float = setting(
        0.0,
        "Share of the training images for which this trial predicts fp32's label; it selects the trial that is judged.",
        minimum=0,
        maximum=1,
    )
    accuracy: float = setting(
        0.0, "Share of the labelled images that this trial classifies correctly.", minimum=0, maximum=1
    )
    interval_95: tuple[float, ...] = setting(
        (), "95 % confidence interval of the accuracy: low, high.", minimum=0, maximum=1
    )
    agreement: float = setting(0.0, "Share of images for which this trial predicts fp32's label.", minimum=0, maximum=1)
    drop: float = setting(0.0, "Accuracy of fp32 minus accuracy of this trial.", minimum=-1, maximum=1)
    size_bytes: int = setting(0, "Size of this trial's weights and graph, in bytes.", minimum=0)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        yield from _interval_faults("interval_95", self.interval_95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence for the chosen int8 graph, from images that were not trained on, with 95 % confidence (one-sided)."""

    kind: str = setting(
        NONE,
        "Measure that decided: the accuracy on `labels`, the `agreement` with fp32, or nothing.",
        choices=(NONE, LABELS, AGREEMENT),
    )
    passed: bool = setting(False, "True if the measurements are enough to ship int8 without a person's decision.")
    labelled_images: int = setting(0, "Number of labelled images on which both graphs were run.", minimum=0)
    lost: int = setting(0, "Number of labelled images that fp32 classifies correctly and int8 wrongly.", minimum=0)
    gained: int = setting(0, "Number of labelled images that int8 classifies correctly and fp32 wrongly.", minimum=0)
    drop: float = setting(
        0.0, "Accuracy, or mean recall, lost by int8; negative if int8 is better.", minimum=-1, maximum=1
    )
    drop_bound_95: float = setting(1.0, "Upper bound of the loss; negative if int8 is better.", minimum=-1, maximum=1)
    images: int = setting(0, "Number of images on which both graphs were run, with and without labels.", minimum=0)
    agreement: float = setting(
        0.0,
        "Share of the compared images, with and without labels, for which both graphs predict the same label.",
        minimum=0,
        maximum=1,
    )
    agreement_bound_95: float = setting(0.0, "Lower confidence bound of the agreement.", minimum=0, maximum=1)
    min_agreement: float = setting(0.0, "Lower bound that the agreement must reach.", minimum=0, maximum=1)
    classes_beyond: tuple[str, ...] = setting((), "Classes whose accuracy drops by more than one class may lose.")
    missing_labelled: int = setting(
        0,
        "More labelled images needed to show that the drop is allowed; 0 if none are "
        "needed, or if more would not help.",
        minimum=0,
    )
    missing_images: int = setting(
        0, "More images, labelled or not, needed to judge the agreement; 0 if the labels suffice.", minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """Whether the artifact ships the int8 graph, and the measurements behind that decision."""

    asked: str = setting(FP32, "Precision that was requested.", choices=("auto", FP32, INT8))
    shipped: bool = setting(False, "True if the artifact's graph is the int8 one.")
    reason: str = setting("", "Reason for the decision, in one sentence.")
    images: int = setting(0, "Number of labelled images that int8 was judged on.", minimum=0)
    data_digest: str = setting("", "SHA-256 of the list of the labelled images that int8 was judged on, in hex.")
    accuracy_fp32: float = setting(
        0.0, "Accuracy of fp32 on the labelled images that int8 was judged on.", minimum=0, maximum=1
    )
    interval_95_fp32: tuple[float, ...] = setting(
        (), "95 % confidence interval of the accuracy of fp32: low, high.", minimum=0, maximum=1
    )
    size_bytes_fp32: int = setting(0, "Size of the fp32 weights and graph, in bytes.", minimum=0)
    max_accuracy_drop: float = setting(
        0.0,
        "Largest accuracy drop that may ship; it is compared with the upper bound of the drop.",
        minimum=0,
        maximum=1,
    )
    evidence: Evidence = setting(Evidence, "Evidence that the decision rests on.")
    trials: tuple[Trial, ...] = setting(
        (), "Trials in the order they were made; the judged trial is the last, and it is what ships if int8 ships."
    )
    picking_images: int = setting(0, "Number of training images that were used to select one of the trials.", minimum=0)
    calibration_images: int = setting(0, "Number of images on which the activation ranges were measured.", minimum=0)
    calibration_key: str = setting("", "Key of the calibration: a conversion with the same key reuses it.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        yield from _interval_faults("interval_95_fp32", self.interval_95_fp32)


def _interval_faults(name: str, interval: tuple[float, ...]) -> Iterator[tuple[str, str]]:
    if interval and (len(interval) != 2 or interval[0] > interval[1]):
        yield name, f"must be two numbers, low and high (got {list(interval)})"
