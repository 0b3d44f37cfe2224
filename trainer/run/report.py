"""Renders `report.html`, the report of a training: one HTML file without scripts or requests to a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
from PIL import Image

from eaves.errors import ImageError
from eaves.images.pixels import decode
from trainer.data.listing import DataFault, group_by_cause
from trainer.data.splitting import HeldOutAnswer
from trainer.model.selector import COLUMNS, describe_row

MAX_MATRIX_CLASSES = 20
"""Maximum number of classes for which the report has a confusion matrix; with more, it lists the pairs confused most.
"""
MAX_PAIRS = 20
MAX_MISTAKES = 12
THUMBNAIL_PIXELS = 96
MAX_FILES = 10
"""Maximum number of file names that the report lists for each fault of files."""


def build_report(
    about: Mapping[str, Any],
    measured: Mapping[str, Any],
    *,
    history: Sequence[Mapping[str, float]],
    answers: Sequence[HeldOutAnswer],
    seconds: Mapping[str, float],
    config: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the report's HTML.

    Args:
        about: Content of run.json: name, arch, mode, epochs, dataset, data_faults, versions ...
        measured: Content of metrics.json.
        history: The loss, accuracy, val_loss and val_accuracy of each epoch.
        answers: The model's answers to the held-out images.
        seconds: Name of each phase to its duration in seconds.
        config: Name of each section to its settings.
    """
    faults = [DataFault(**fault) for fault in about["data_faults"]]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        about=about,
        measured=measured,
        history=history,
        columns=COLUMNS,
        selection=[describe_row(row) for row in about["selection"]["figures"]],
        matrix=build_matrix(measured) if len(about["labels"]) <= MAX_MATRIX_CLASSES else None,
        pairs=build_pairs(measured),
        classes=build_classes(measured),
        mistakes=_mistakes(answers, Path(about["dataset"]["root"])),
        fault_count=len(faults),
        not_used=group_by_cause(faults),
        shown_files=MAX_FILES,
        seconds=seconds,
        hardware=about["hardware"],
        config=config,
    )


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
    """Return the pairs of classes that are confused most often, at most `MAX_PAIRS`."""
    labels = measured["labels"]
    pairs = [
        {"truth": truth, "predicted": other, "count": count, "images": sum(row)}
        for truth, row in zip(labels, measured["confusion"], strict=True)
        for other, count in zip(labels, row, strict=True)
        if count and truth != other
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:MAX_PAIRS]


def build_classes(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of every class, the worst recall first."""
    rows = [{"label": label, **figures} for label, figures in measured["per_class"].items()]
    return sorted(rows, key=lambda row: 2.0 if row["recall"] is None else row["recall"])


def _mistakes(answers: Sequence[HeldOutAnswer], root: Path) -> list[dict[str, Any]]:
    """Return the wrongly classified held-out images with the highest scores, at most `MAX_MISTAKES`."""
    wrong = sorted((item for item in answers if item.predicted != item.label), key=lambda item: -item.score)
    return [
        {
            "file": PurePosixPath(item.file).name,
            "truth": item.label,
            "predicted": item.predicted,
            "score": item.score,
            "image": build_thumbnail(root / item.file),
        }
        for item in wrong[:MAX_MISTAKES]
    ]


def build_thumbnail(file: Path) -> str | None:
    """Return a thumbnail as the data URI of a JPEG; None when the file is missing or no picture."""
    try:
        pixels = decode(file.read_bytes(), at_least=(THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    except (OSError, ImageError):
        return None
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    picture.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
