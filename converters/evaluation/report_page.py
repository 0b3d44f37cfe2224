"""Renders an evaluation, or the comparison of two models, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.evaluation.images import LabelledImages
from converters.evaluation.metrics import Evaluation, Pairing
from trainer.data.listing import group_by_cause
from trainer.report import html_page
from trainer.report.html_page import build_thumbnail
from trainer.report.report import FILES, MATRIX_CLASSES, build_classes, build_matrix, build_pairs

DIFFERING = 48
"""Maximum number of images that the page shows of those to which the two models give different labels."""
REFUSED = 100


def build_evaluation_page(found: LabelledImages, evaluations: Sequence[Evaluation], pairing: Pairing | None) -> str:
    """Return the HTML of an evaluation.

    Args:
        found: The labelled images.
        evaluations: Evaluation of one or two models.
        pairing: Difference of the second model from the first; None for one model.
    """
    shown = pairing.differing[:DIFFERING] if pairing else ()
    return html_page.build_page(
        Path(__file__).with_name("evaluation.html.j2"),
        models=[_model(evaluation) for evaluation in evaluations],
        not_used=group_by_cause(found.faults),
        shown_files=FILES,
        trained_on=found.trained_on,
        copies=found.copies,
        notes=found.notes,
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
