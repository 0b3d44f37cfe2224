"""Results of a conversion that the manifest records: the parity proof and the int8 table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.config import setting

INT8, FP32 = "int8", "fp32"
LABELS, AGREEMENT, NONE = "labels", "agreement", "none"
"""Kinds of evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Proof that the converted model gives the trained model's outputs on real images, from encoded bytes to logits."""

    images: int = setting(0, "How many images were compared.", minimum=0)
    max_abs_error: float = setting(0.0, "Worst absolute difference of a logit.", minimum=0)
    max_abs_error_probabilities: float = setting(0.0, "Worst absolute difference of a probability.", minimum=0)
    max_rel_error: float = setting(
        0.0, "Worst difference of a logit relative to the largest logit of its image.", minimum=0
    )
    top1_agreement: float = setting(0.0, "Share of images on which both name the same label.", minimum=0, maximum=1)
    tolerance: float = setting(
        0.0,
        "The absolute difference allowed: fp32: of a logit and of a probability; int8: of a probability.",
        minimum=0,
    )
    min_agreement: float = setting(1.0, "The share of same labels demanded.", minimum=0, maximum=1)
    passed: bool = setting(False, "The verdict; an artifact that failed is never written.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of the int8 table: a quantised candidate that was tried during the search. The chosen one is judged."""

    kept_fp32: tuple[str, ...] = setting((), "Layers left in fp32 besides the head.")
    judged: bool = setting(True, "Whether it was judged; accuracy, interval, agreement and drop are of those only.")
    picking_agreement: float = setting(
        0.0,
        "Share of the training side's images on which it names fp32's label; one is picked by it.",
        minimum=0,
        maximum=1,
    )
    accuracy: float = setting(0.0, "Share of the labelled images it names right.", minimum=0, maximum=1)
    interval_95: tuple[float, ...] = setting((), "95 % interval of the accuracy, low and high.", minimum=0, maximum=1)
    agreement: float = setting(0.0, "Share of images on which it names fp32's label.", minimum=0, maximum=1)
    drop: float = setting(0.0, "fp32's accuracy less this one.", minimum=-1, maximum=1)
    size_bytes: int = setting(0, "Bytes of its weights and graph.", minimum=0)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return faults that concern several fields."""
        yield from _interval_faults("interval_95", self.interval_95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence for the chosen int8 graph, from images that were not trained on, with 95 % confidence (one-sided)."""

    kind: str = setting(
        NONE,
        "What it was judged by: the accuracy on `labels`, the `agreement` with fp32, or nothing.",
        choices=(NONE, LABELS, AGREEMENT),
    )
    passed: bool = setting(False, "Whether that is enough to ship without a person's decision.")
    labelled_images: int = setting(0, "Labelled images that both graphs answered.", minimum=0)
    lost: int = setting(0, "Of them, those that fp32 names right and int8 doesn't.", minimum=0)
    gained: int = setting(0, "Of them, those that int8 names right and fp32 doesn't.", minimum=0)
    drop_bound_95: float = setting(
        1.0, "Upper bound of the accuracy lost; negative: int8 is better.", minimum=-1, maximum=1
    )
    images: int = setting(0, "Images that both graphs answered, with and without labels.", minimum=0)
    agreement: float = setting(0.0, "Share of them that both name alike.", minimum=0, maximum=1)
    agreement_bound_95: float = setting(0.0, "Lower bound of that share.", minimum=0, maximum=1)
    min_agreement: float = setting(0.0, "The bound wanted.", minimum=0, maximum=1)
    classes_beyond: tuple[str, ...] = setting((), "Classes that are shown to be worse than a class may be.")
    missing_labelled: int = setting(
        0, "More labelled images that would show the drop allowed; 0: none are missing, or none would help.", minimum=0
    )
    missing_images: int = setting(
        0, "More images, labelled or not, until agreement can be judged; 0 where the labels suffice.", minimum=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """Whether the artifact ships the int8 graph, and the measurements behind that decision."""

    asked: str = setting(FP32, "The precision asked for.", choices=("auto", FP32, INT8))
    shipped: bool = setting(False, "Whether the artifact's graph is the int8 one.")
    reason: str = setting("", "Why, one sentence for people.")
    images: int = setting(0, "Labelled images it was judged on.", minimum=0)
    data_digest: str = setting("", "Digest of those images' list, sha256 hex.")
    accuracy_fp32: float = setting(0.0, "fp32's accuracy on them.", minimum=0, maximum=1)
    interval_95_fp32: tuple[float, ...] = setting((), "Its 95 % interval, low and high.", minimum=0, maximum=1)
    size_bytes_fp32: int = setting(0, "Bytes of fp32's weights and graph.", minimum=0)
    max_accuracy_drop: float = setting(
        0.0, "The largest drop that ships; its upper bound counts.", minimum=0, maximum=1
    )
    evidence: Evidence = setting(Evidence, "What the judgement rests on; artifacts made before it have none.")
    trials: tuple[Trial, ...] = setting(
        (), "The table, in the order tried, the judged one last: it is what shipped, if int8 did."
    )
    picking_images: int = setting(0, "Images of the training side that one of the trials was picked on.", minimum=0)
    reduce_range: bool = setting(False, "7-bit weights, which don't saturate on x86 without VNNI.")
    calibration_images: int = setting(0, "Images that the ranges were measured on.", minimum=0)
    calibration_key: str = setting("", "What the calibration is of: it is reused while this stays.")
    instruction_set: str = setting(
        "any",
        "What a CPU needs to give the recorded answers; vnni: AVX512-VNNI, AVX-VNNI or ARM dot products.",
        choices=("any", "vnni"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return faults that concern several fields."""
        yield from _interval_faults("interval_95_fp32", self.interval_95_fp32)


def _interval_faults(name: str, interval: tuple[float, ...]) -> Iterator[tuple[str, str]]:
    if interval and (len(interval) != 2 or interval[0] > interval[1]):
        yield name, f"must be low and high (got {list(interval)})"
