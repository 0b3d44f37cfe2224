"""Explains the int8 decision to people in one sentence."""

from __future__ import annotations

import math

from converters.int8.evidence import count_missing
from eaves.artifact.conversion_results import AGREEMENT, Evidence, Parity
from eaves.base.statistics import round_outward

FINER = 0.01
"""Loss of accuracy, a fraction of 1. When an int8 model passes, but the images don't show that it loses at most this,
the report says how many more labelled images could show it."""


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
    text = (
        f"int8 {_change(evidence)}, at most {format_bound(evidence.drop_bound_95)} with 95 % confidence, "
        f"on {evidence.labelled_images:,} images"
    )
    if evidence.classes_beyond:
        return f"{text}; the accuracy of {', '.join(evidence.classes_beyond)} dropped too much"
    if evidence.passed:
        return text + _finer(evidence, max_drop)
    if not evidence.missing_labelled or evidence.drop > max_drop:
        return f"{text}; the limit is {_points(max_drop)}"
    return f"{text}; the limit is {_points(max_drop)}: {_ask_for_labels(evidence)}"


def explain_difference(parity: Parity) -> str:
    """Explain how far the answers of an int8 graph are from the original's, when they differ by more than allowed."""
    return (
        f"the int8 answers differ too much: the same label on {parity.top1_agreement:.1%} of {parity.images} "
        f"samples (at least {parity.min_agreement:.0%} required), a probability off by "
        f"{parity.max_abs_error_probabilities:.4f} (at most {parity.tolerance:g} allowed)"
    )


def format_bound(share: float) -> str:
    """Format an upper bound in percentage points, rounded up to one decimal so that it is never understated."""
    return f"{math.ceil(share * 1000 - 1e-6) / 10:.1f}".removesuffix(".0")


def format_lower_bound(share: float) -> str:
    """Format a lower bound as a percentage, rounded down to one decimal so that it is never overstated."""
    return f"{round_outward((share, share), 3)[0]:.1%}"


def round_up(images: int) -> str:
    """Round a number of images up to two significant digits: 1,300 for 1,243."""
    unit: int = 10 ** max(0, len(str(images)) - 2)
    return f"{math.ceil(images / unit) * unit:,}"


def _explain_agreement(evidence: Evidence) -> str:
    verb = "agrees" if evidence.passed else "agrees too little"
    text = (
        f"int8 {verb} with fp32: on {evidence.agreement:.1%} of {evidence.images:,} images, at least "
        f"{format_lower_bound(evidence.agreement_bound_95)} with 95 % confidence, {evidence.min_agreement:.0%} required"
    )
    if evidence.classes_beyond:
        text += f"; its answers differ on too many images of {', '.join(evidence.classes_beyond)}"
    if evidence.missing_labelled:
        text += f"; {round_up(evidence.missing_labelled)} more labelled images would be enough to measure its accuracy"
    return text


def _ask_for_labels(evidence: Evidence) -> str:
    more = f"{round_up(evidence.missing_labelled)} more labelled images would be enough to decide"
    return f"{more}, or {_ask_for_photos(evidence)}" if evidence.missing_images else more


def _ask_for_photos(evidence: Evidence) -> str:
    return (
        f"{evidence.missing_images:,} more photos without labels (convert.unlabelled) would be enough to "
        "compare it with fp32"
    )


def _finer(evidence: Evidence, max_drop: float) -> str:
    if evidence.drop_bound_95 <= FINER or max_drop <= FINER:
        return ""
    missing = count_missing(evidence.lost, evidence.gained, evidence.labelled_images, FINER)
    return f"; {round_up(missing)} more images could show a loss of at most {FINER * 100:g} point" if missing else ""


def _change(evidence: Evidence) -> str:
    net = evidence.drop
    return f"gained {_points(-net)}" if net < 0 else f"lost {_points(net)}"


def _points(share: float) -> str:
    """Format a share as `0.7 points` or `1 point`."""
    number = f"{share * 100:.1f}".removesuffix(".0")
    return f"{number} point" if number == "1" else f"{number} points"
