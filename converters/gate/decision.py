"""Decides by the results on held-out images whether a model is published or refused, and gives the reason."""

from __future__ import annotations

from collections import Counter

from converters.evaluation.metrics import Evaluation
from converters.evaluation.paired_comparison import Pairing
from converters.gate.settings import PipelineSettings
from eaves.base.statistics import images_needed, round_outward
from eaves.errors import RefusedModelError
from trainer.evaluation import ACCURACY
from trainer.evaluation.model_quality import MIN_GROUPS
from trainer.evaluation.quality_sentence import count_images

_WHERE = "the run and its report are kept"


def check_floor(evaluation: Evaluation, settings: PipelineSettings) -> str:
    """Check that a model's figure reaches the floor, and that no class is below its own.

    Args:
        evaluation: Evaluation of the model's artifact on images that its run held out.
        settings: Settings with the floors.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The lower end of the interval does not reach the floor, or does not exceed the figure of
            always answering the most frequent class, or a class is shown to be right less often than its floor.
    """
    figure = evaluation.measured["figure"]
    low, high = round_outward(evaluation.interval, 3)
    what = count_images(figure["images"], figure["groups"], "held-out")
    figures = f"{figure['name']} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on {what}"
    if figure["groups"] < MIN_GROUPS:
        raise RefusedModelError(
            f"the model is not published: {figures}; at least {MIN_GROUPS} images or groups of images are needed",
            hint=f"hold out more images; {_WHERE}",
        )
    if evaluation.interval[0] < settings.floor:
        raise RefusedModelError(
            f"the model is not published: {figures}; the lower end of the interval must reach pipeline.floor "
            f"({settings.floor:g})",
            hint=f"add images, or lower pipeline.floor if this {figure['name']} is good enough; {_WHERE}",
        )
    if evaluation.interval[0] <= figure["baseline"]:
        label = Counter(image.label for image in evaluation.images).most_common(1)[0][0]
        raise RefusedModelError(
            f"the model is not published: {figures}; always answering {label!r} gives {figure['baseline']:.3f}, and "
            "the lower end of the interval must exceed that",
            hint=f"add images, or choose another architecture; {_WHERE}",
        )
    missed = [
        f"{item.name} ({item.right} of {item.images} right)"
        for item in evaluation.quality.weak_classes
        if item.upper_bound < settings.class_floor
    ]
    if missed:
        raise RefusedModelError(
            f"the model is not published: {figures}; with 95 % confidence, fewer than {settings.class_floor:.0%} of "
            f"the images of these classes are right: {', '.join(missed)}",
            hint=f"add images of these classes, or lower pipeline.class_floor (0 for no floor); {_WHERE}",
        )
    return figures


def check_replacement(pairing: Pairing, name: str, settings: PipelineSettings, *, note: str = "") -> str:
    """Check that a model's figure is not lower than that of an earlier model by more than allowed.

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
        RefusedModelError: The images do not exclude that the new model loses more than the settings allow.
    """
    bound = 100 * pairing.bound_drop()
    at_most = round_outward((bound, bound), 1)[1]
    figures = (
        f"of {pairing.images} held-out images, the new model is right on {pairing.gained} that {name} answered "
        f"wrongly, and wrong on {pairing.lost} that {name} answered rightly: it loses at most {at_most:.1f} points "
        f"of {pairing.figure}, with 95 % confidence"
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
    if pairing.figure != ACCURACY:  # how many are needed depends on the classes and groups that they are of
        return "hold out more images of the rarest class"
    if len(set(pairing.judged.groups.tolist())) < pairing.images:
        return "hold out more images, of other groups"
    differing = (pairing.lost + pairing.gained) / pairing.images
    return (
        f"hold out about {images_needed(differing, allowed / 100)} images, which are enough to show whether "
        "the loss is allowed"
    )
