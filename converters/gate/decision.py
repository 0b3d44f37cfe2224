"""Decides by the results on held-out images whether a model is published or refused, and gives the reason."""

from __future__ import annotations

from collections import Counter

from converters.evaluation.metrics import Evaluation
from converters.evaluation.paired_comparison import Pairing
from converters.gate.settings import PipelineSettings
from eaves.base.statistics import images_needed, paired_drop_bound
from eaves.errors import RefusedModelError

_WHERE = "the run and its report are kept"


def check_floor(evaluation: Evaluation, settings: PipelineSettings) -> str:
    """Check that a model's accuracy reaches the floor.

    Args:
        evaluation: Evaluation of the model's artifact on images that its run held out.
        settings: Settings with the floor.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The lower end of the interval does not reach the floor, or does not exceed the accuracy of
            always answering the most frequent class.
    """
    images = len(evaluation.images)
    label, most = Counter(image.label for image in evaluation.images).most_common(1)[0]
    (low, high), guessed = evaluation.interval, most / images
    figures = (
        f"accuracy {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on {images} held-out images"
    )
    if low < settings.floor:
        raise RefusedModelError(
            f"the model is not published: {figures}; the lower end of the interval must reach pipeline.floor "
            f"({settings.floor:g})",
            hint=f"add images, or lower pipeline.floor if this accuracy is good enough; {_WHERE}",
        )
    if low <= guessed:
        raise RefusedModelError(
            f"the model is not published: {figures}; always answering {label!r} gives {guessed:.3f}, and the "
            "lower end of the interval must exceed that",
            hint=f"add images, or choose another architecture; {_WHERE}",
        )
    return figures


def check_replacement(pairing: Pairing, name: str, settings: PipelineSettings, *, note: str = "") -> str:
    """Check that a model's accuracy is not lower than that of the model that it replaces by more than allowed.

    Args:
        pairing: Comparison of the earlier model (first) with the new one (second), on images that neither was trained
            on as far as that is known. If the earlier model was trained on some of them, it only seems better, so that
            a pass remains valid.
        name: Name of the earlier model.
        settings: Settings with the allowed loss.
        note: Uncertainty about the images, which is added to the message of a refusal.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The images do not exclude that the new model loses more accuracy than the settings allow.
    """
    lost, gained, images = pairing.lost, pairing.gained, pairing.images
    bound = 100 * paired_drop_bound(lost, gained, images)
    figures = (
        f"of {images} held-out images, the new model is right on {gained} that {name} answered wrongly, and wrong "
        f"on {lost} that {name} answered rightly: it loses at most {bound:.1f} points of accuracy, with 95 % "
        "confidence"
    )
    allowed = settings.max_accuracy_drop
    if bound <= allowed:
        return f"{figures}; pipeline.max_accuracy_drop is {allowed:g}"
    raise RefusedModelError(
        f"the model is not published: {figures}, and pipeline.max_accuracy_drop allows {allowed:g}{note}",
        hint=f"{_advise(pairing, allowed)}, or raise pipeline.max_accuracy_drop (100 turns the comparison off); "
        f"{_WHERE}",
    )


def _advise(pairing: Pairing, allowed: float) -> str:
    """Return advice for a refused model: more held-out images, unless the measured loss itself is too large."""
    if -100 * pairing.difference > allowed or not allowed:
        return "look at the wrong answers in the report"
    differing = (pairing.lost + pairing.gained) / pairing.images
    return (
        f"hold out about {images_needed(differing, allowed / 100)} images, which are enough to show whether "
        "the loss is allowed"
    )
