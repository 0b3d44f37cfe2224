"""Renders the result of a conversion (`NAME.html` beside the artifact NAME) or of an evaluation as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.evaluation.images import LabelledImages
from converters.evaluation.metrics import Evaluation, Pairing
from converters.int8.evidence import format_bound, format_lower_bound
from eaves.artifact import FP32, INT8, Artifact, Manifest, Quantisation, load_golden
from eaves.artifact.conversion_results import AGREEMENT
from eaves.base.statistics import round_outward
from trainer.data.listing import group_by_cause
from trainer.report import html_page
from trainer.report.html_page import build_thumbnail
from trainer.report.report import FILES, MATRIX_CLASSES, build_classes, build_matrix, build_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionVerdict:
    """Headline of the page.

    Attributes:
        title: Precision and a short reason.
        text: Sentence with the numbers.
        loud: Whether people should read it before they deploy the artifact.
    """

    title: str
    text: str
    loud: bool = False


def page_path(artifact: Path) -> Path:
    """Return the path of an artifact's page; the name of an artifact may contain dots."""
    return artifact.with_name(f"{artifact.name}.html")


def write_page(artifact: Artifact, quality: str = "") -> None:
    """Write the page of an artifact beside it; `quality` is what its run says about the model's accuracy.

    Raises:
        ArtifactError: The artifact's golden images can't be read.
    """
    html_page.write_page(page_path(artifact.path), build_page(artifact, quality))


def build_page(artifact: Artifact, quality: str = "") -> str:
    """Return the HTML of the page that reports on a conversion."""
    manifest = artifact.manifest
    golden = [{**row, "image": build_thumbnail(artifact.path / row["file"])} for row in build_golden(artifact)]
    return html_page.build_page(
        Path(__file__).with_name("page.html.j2"),
        manifest=manifest,
        found=manifest.quantisation,
        digest=artifact.digest,
        size_bytes=artifact.size_bytes,
        verdict=build_verdict(manifest),
        trials=build_trials(manifest.quantisation),
        golden=golden,
        wrong=sum(item["wrong"] for item in golden),
        quality=quality,
    )


def build_verdict(manifest: Manifest) -> ConversionVerdict:
    """Return the headline: the precision that ships, and the evidence for it."""
    found = manifest.quantisation
    if manifest.precision == INT8:
        return _judge_int8(found)
    if found.trials:
        return ConversionVerdict(
            title="fp32: int8 was tried, but is not proven to be as good", text=_describe(found), loud=True
        )
    if found.asked == FP32:
        return ConversionVerdict(
            title="fp32, as set by convert.precision",
            text="int8 was not tried: with the precision auto it is tried and judged.",
        )
    text = f"The precision {found.asked} was set, but no int8 model could be measured."
    return ConversionVerdict(title="fp32: int8 was not tried", text=text, loud=True)


def _judge_int8(found: Quantisation) -> ConversionVerdict:
    evidence = found.evidence
    if not evidence.passed:
        title = "int8, as set by convert.precision: the evidence does not suffice"
        return ConversionVerdict(title=title, text=_describe(found), loud=True)
    if evidence.kind == AGREEMENT:
        title = f"int8 agrees with fp32 on at least {format_lower_bound(evidence.agreement_bound_95)} of images"
    else:
        title = f"int8 loses at most {format_bound(evidence.drop_bound_95)} points of accuracy"
    return ConversionVerdict(title=title, text=_describe(found))


def _describe(found: Quantisation) -> str:
    """Return, as sentences, the accuracies and the numbers of images on which the decision about int8 is based."""
    evidence = found.evidence
    parts = []
    if evidence.labelled_images:
        accuracies = f"{found.trials[-1].accuracy:.3f} against fp32's {found.accuracy_fp32:.3f}"
        counts = f"only fp32 is right on {evidence.lost}, only int8 is right on {evidence.gained}"
        parts.append(f"Accuracy {accuracies} on {evidence.labelled_images:,} labelled images: {counts}.")
    if evidence.images:
        parts.append(f"int8 and fp32 predict the same label on {evidence.agreement:.1%} of {evidence.images:,} images.")
    return " ".join(parts) or "There was no image to judge int8 on."


def build_trials(found: Quantisation) -> list[dict[str, Any]]:
    """Return the rows of the page's table of precisions: fp32 first, then every int8 candidate in order."""
    if not found.trials:
        return []
    fp32 = {
        "name": "fp32",
        "kept": (),
        "accuracy": found.accuracy_fp32,
        "interval": _format_interval(found.interval_95_fp32),
        "picking": None,
        "agreement": None,
        "drop": None,
        "size_bytes": found.size_bytes_fp32,
        "ships": not found.shipped,
    }
    rows = [
        {
            "name": "int8",
            "kept": trial.kept_fp32,
            "accuracy": trial.accuracy if trial.judged else None,
            "interval": _format_interval(trial.interval_95) if trial.judged else "",
            "picking": trial.picking_agreement,
            "agreement": trial.agreement if trial.judged else None,
            "drop": trial.drop * 100 if trial.judged else None,
            "size_bytes": trial.size_bytes,
            "ships": found.shipped and number == len(found.trials),
        }
        for number, trial in enumerate(found.trials, 1)
    ]
    return [fp32, *rows]


def _format_interval(interval: Sequence[float]) -> str:
    return "{:.3f} to {:.3f}".format(*round_outward((interval[0], interval[1]), 3)) if interval else ""


def build_golden(artifact: Artifact) -> list[dict[str, Any]]:
    """Return a row for each golden image: its label, the expected answer and whether that is wrong.

    Raises:
        ArtifactError: The golden images can't be read.
    """
    labels, decision = artifact.manifest.labels, artifact.manifest.decision
    rows = []
    for case in load_golden(artifact):
        chosen = int(decision.choose(np.array(case.probabilities))) if len(case.probabilities) == len(labels) else None
        answer, score = ("", 0.0) if chosen is None else (labels[chosen], case.probabilities[chosen])
        wrong = bool(answer) and case.label in labels and answer != case.label
        rows.append({"label": case.label, "answer": answer, "score": score, "file": case.file, "wrong": wrong})
    return rows


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
        "classes": build_classes(measured, evaluation.calibration_errors()),
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
