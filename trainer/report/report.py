"""Renders `report.html`, the report of a training, as one file without scripts or requests to a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.listing import DataFault, group_by_cause
from trainer.evaluation.calibration import prior_correction, softmax
from trainer.report import charts
from trainer.report.html_page import build_page, build_thumbnail, write_page
from trainer.selection.selector import COLUMNS, describe_row

MATRIX_CLASSES = 20
"""Maximum number of classes for which the report has a confusion matrix; with more, it lists the pairs confused most.
"""
PAIRS = 20
MISTAKES = 12
FILES = 10
"""Maximum number of file names that the report lists for each fault of files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """Content of the report.

    Attributes:
        about: Content of run.json: name, arch, mode, epochs, dataset, data_faults, versions ...
        measured: Content of metrics.json.
        history: The loss, accuracy, val_loss and val_accuracy of each epoch.
        truth: (N,) int64, labels of the held-out images.
        logits: (N, classes) float32, the model's logits for the held-out images.
        files: Files of the held-out images, in the same order.
        seconds: Name of each phase to its duration in seconds.
        hardware: Hardware that the training ran on.
        config: Name of each section to its settings.
    """

    about: Mapping[str, Any]
    measured: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    truth: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    files: Sequence[Path]
    seconds: Mapping[str, float]
    hardware: Mapping[str, str]
    config: Mapping[str, Mapping[str, Any]]

    def scores(self) -> npt.NDArray[np.float64]:
        """Return the scores of the held-out images as they are served, (N, classes)."""
        bias = prior_correction(self.measured["decision"]["label_weights"])
        return softmax(self.logits, self.measured["temperature"], bias)


def write_report(path: Path, facts: ReportFacts) -> None:
    """Write the report to a file."""
    write_page(path, build_report(facts))


def build_report(facts: ReportFacts) -> str:
    """Return the report's HTML."""
    faults = [DataFault(**fault) for fault in facts.about["data_faults"]]
    return build_page(
        Path(__file__).with_name("report.html.j2"),
        about=facts.about,
        measured=facts.measured,
        curves=_curves(facts.history) if facts.history else [],
        columns=COLUMNS,
        selection=[describe_row(row) for row in facts.about["selection"]["figures"]],
        matrix=build_matrix(facts.measured) if len(facts.about["labels"]) <= MATRIX_CLASSES else None,
        pairs=build_pairs(facts.measured),
        classes=build_classes(facts.measured, facts.measured["calibration"]["ece_by_label"]),
        mistakes=_mistakes(facts),
        fault_count=len(faults),
        not_used=group_by_cause(faults),
        shown_files=FILES,
        seconds=facts.seconds,
        hardware=facts.hardware,
        config=facts.config,
    )


def _curves(history: Sequence[Mapping[str, float]]) -> list[Any]:
    def lines(name: str) -> list[charts.Line]:
        sides = (("train", name), ("val", f"val_{name}"))
        return [
            charts.Line(css=css, values=[epoch[key] for epoch in history])
            for css, key in sides
            if history and all(key in epoch for epoch in history)
        ]

    return [
        charts.draw_curves(lines("loss"), y_label="loss"),
        charts.draw_curves(lines("accuracy"), y_label="accuracy", y_max=1.0),
    ]


def build_matrix(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per true class; each cell has a count and a shade (0 to 1, share of that class's images)."""
    return [
        {
            "label": label,
            "cells": [
                {"count": count, "shade": round(count / max(sum(row), 1), 3), "right": column == number, "label": other}
                for column, (count, other) in enumerate(zip(row, measured["labels"], strict=True))
            ],
        }
        for number, (label, row) in enumerate(zip(measured["labels"], measured["confusion"], strict=True))
    ]


def build_pairs(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pairs of classes that are confused most often, at most `PAIRS`."""
    confusion = np.array(measured["confusion"])
    np.fill_diagonal(confusion, 0)
    labels = measured["labels"]
    order = np.argsort(-confusion, axis=None, kind="stable")[:PAIRS]
    places = [(int(place) // len(labels), int(place) % len(labels)) for place in order]
    return [
        {
            "truth": labels[row],
            "predicted": labels[column],
            "count": int(confusion[row, column]),
            "images": measured["per_class"][labels[row]]["images"],
        }
        for row, column in places
        if confusion[row, column]
    ]


def build_classes(measured: Mapping[str, Any], errors: Sequence[float | None]) -> list[dict[str, Any]]:
    """Return the figures of every class, the worst recall first.

    Args:
        measured: Result of `trainer.evaluation.metrics.summarize`.
        errors: Calibration error of the images that get each label, in the order of the labels.
    """
    rows = [
        {"label": label, **figures, "calibration_error": error}
        for (label, figures), error in zip(measured["per_class"].items(), errors, strict=True)
    ]
    return sorted(rows, key=lambda row: 2.0 if row["recall"] is None else row["recall"])


def _mistakes(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return the wrongly classified held-out images with the highest scores, at most `MISTAKES`."""
    best = np.argmax(facts.logits, axis=1)
    scores = facts.scores()[np.arange(len(best)), best]
    wrong = np.flatnonzero(best != facts.truth)
    labels = facts.about["labels"]
    return [
        {
            "file": facts.files[row].name,
            "truth": labels[facts.truth[row]],
            "predicted": labels[best[row]],
            "score": float(scores[row]),
            "image": build_thumbnail(facts.files[row]),
        }
        for row in wrong[np.argsort(-scores[wrong], kind="stable")][:MISTAKES]
    ]
