"""The page of an evaluation, for people: one model, or two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.evaluation.figures import Evaluation
from converters.evaluation.labelled_images import LabelledImages
from converters.evaluation.paired import Pairing
from trainer import charts
from trainer.page import build_page, build_thumbnail
from trainer.report import MATRIX_CLASSES, build_classes, build_matrix, build_pairs

DIFFERING = 48
"""Images with two different answers that are shown."""
REFUSED = 100


def build_evaluation_page(found: LabelledImages, evaluations: Sequence[Evaluation], pairing: Pairing | None) -> str:
    """The page's HTML.

    Args:
        found: The images.
        evaluations: One or two models.
        pairing: How the second differs from the first; None of one model.
    """
    shown = pairing.differing[:DIFFERING] if pairing else ()
    return build_page(
        Path(__file__).with_name("evaluation.html.j2"),
        models=[_model(evaluation) for evaluation in evaluations],
        faults=found.faults[:REFUSED],
        trained_on=found.trained_on,
        pairing=pairing,
        differing=[{"item": item, "image": build_thumbnail(item.image.path)} for item in shown],
    )


def _model(evaluation: Evaluation) -> dict[str, Any]:
    measured = evaluation.measured
    few = len(measured["labels"]) <= MATRIX_CLASSES
    return {
        "about": evaluation,
        "matrix": build_matrix(measured) if few else None,
        "pairs": build_pairs(measured),
        "classes": build_classes(measured),
        "reliability": charts.draw_reliability([], evaluation.bins),
        "times": evaluation.times_ms(),
        "refused": evaluation.refused[:REFUSED],
        "mistakes": [
            {
                "file": evaluation.images[position].name,
                "truth": evaluation.images[position].label,
                "predicted": evaluation.answers[position].label,
                "score": evaluation.answers[position].score,
                "image": build_thumbnail(evaluation.images[position].path),
            }
            for position in evaluation.mistakes()
        ],
    }
