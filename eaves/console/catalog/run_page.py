"""What the page of a run shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from eaves.console.catalog.confusion import (
    MATRIX_CLASSES,
    Cell,
    ClassRow,
    Share,
    build_cells,
    build_classes,
    build_pairs,
)
from eaves.console.catalog.run_files import CURVES, RunFiles, foreign_content
from eaves.console.model.words import clean_text, describe_duration
from trainer.report.charts import draw_history

TABLE_EPOCHS = 200
"""Maximum number of epochs in the table beside the curves; of more, evenly spaced ones are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A chart of one figure by epoch, for training images and held-out images."""

    title: str
    chart: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Content of the page of a run.

    Attributes:
        title: Name and version of the model.
        created: Time when the run was written, Unix seconds; None when it isn't known.
        verdict: What the model is worth, as a sentence without a full stop; empty without one.
        kind: Level of the verdict, such as `usable`.
        accuracy: Accuracy on the held-out images.
        baseline: Accuracy of always answering the most frequent class; None without images.
        labels: Class names.
        curves: Learning curves.
        epochs: Rows of the curves' table: number of the epoch and its figures as text.
        matrix: Cells of the confusion matrix; empty with many classes.
        pairs: Pairs of classes that are confused most often.
        classes: Figures of each class.
        facts: Name and value of the run's other properties.
        counts: Class, number of images trained on and number of images held out.
        settings: Name and value of each setting.
    """

    title: str
    created: float | None
    verdict: str
    kind: str
    accuracy: Share
    baseline: Share
    labels: tuple[str, ...]
    curves: tuple[Curve, ...]
    epochs: tuple[tuple[str, ...], ...]
    matrix: tuple[tuple[Cell, ...], ...]
    pairs: tuple[Cell, ...]
    classes: tuple[ClassRow, ...]
    facts: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, int, int], ...]
    settings: tuple[tuple[str, str], ...]


def build_run_page(files: RunFiles) -> RunPage:
    """Build the content of a run's page.

    Raises:
        ArtifactError: The run holds something that Eaves does not write.
    """
    with foreign_content(f"the run {files.run.path.name}"):
        run, labels = files.run, files.run.labels
        few = len(labels) <= MATRIX_CLASSES
        verdict = run.verdict
        most = max((sum(row) for row in files.confusion), default=0)
        return RunPage(
            title=clean_text(f"{run.name} {run.version}"),
            created=parse_time(run.created),
            verdict=clean_text(verdict.get("text", "")),
            kind=clean_text(verdict.get("kind", "")),
            accuracy=files.accuracy,
            baseline=Share(right=most, images=files.accuracy.images),
            labels=labels,
            curves=tuple(Curve(title=f"{name} by epoch", chart=chart) for name, chart in draw_history(files.history)),
            epochs=tuple(_epochs(files)),
            matrix=tuple(map(tuple, build_cells(labels, files.confusion))) if few else (),
            pairs=tuple(build_pairs(labels, files.confusion)),
            classes=tuple(build_classes(labels, files.confusion)),
            facts=tuple(_facts(files)),
            counts=tuple(_counts(files)),
            settings=tuple((clean_text(name), clean_text(value)) for name, value in sorted(files.settings.items())),
        )


def _epochs(files: RunFiles) -> Sequence[tuple[str, ...]]:
    step = max(1, -(-len(files.history) // TABLE_EPOCHS))
    return [
        (str(number), *(f"{epoch[name]:.3f}" if name in epoch else "\N{EN DASH}" for name in CURVES))
        for number, epoch in enumerate(files.history, 1)
        if number % step == 0 or number == len(files.history)
    ]


def _facts(files: RunFiles) -> Sequence[tuple[str, str]]:
    run = files.run
    spent_s = sum(files.seconds.values())
    how = "only the head was trained" if run.mode == "frozen" else f"{run.mode} training"
    facts = [
        ("Architecture", f"{run.arch}, {how}"),
        ("Epochs", f"{run.epochs}" if run.epochs else ""),
        ("Head", f"{run.head}"),
        ("Initial weights", run.weights.get("origin") or run.weights.get("kind", "not known")),
        ("Input", f"{run.recipe.width} \N{MULTIPLICATION SIGN} {run.recipe.height} pixels"),
        ("Training time", describe_duration(spent_s) if 0 < spent_s < 1e8 else ""),
        ("Faulty files", f"{sum(not fault.get('used') for fault in run.data_faults):,}"),
        ("Trained on", ", ".join(f"{name}: {value}" for name, value in run.hardware.items())),
    ]
    if "temperature" in run.calibration:
        facts.append(("Temperature of the scores", f"{float(run.calibration['temperature']):.2f}"))
    return [(name, clean_text(value)) for name, value in facts if value]


def _counts(files: RunFiles) -> Sequence[tuple[str, int, int]]:
    train, val = files.run.dataset.get("train", {}), files.run.dataset.get("val", {})
    return [(label, int(train.get(label, 0)), int(val.get(label, 0))) for label in files.run.labels]


def describe_level(kind: str) -> str:
    """Return the words for the level of a verdict, for a badge."""
    return {
        "usable": "usable",
        "uncertain": "not shown to be usable",
        "weak": "weak",
        "guessing": "no better than guessing",
        "unknown": "too few images to tell",
    }.get(kind, "not rated")


def describe_accuracy(accuracy: Share) -> str:
    """Return the accuracy with its evidence as one text."""
    return f"{accuracy.percent} ({accuracy.evidence})" if accuracy.images else "not measured"


def parse_time(text: object) -> float | None:
    """Return an ISO 8601 time as Unix seconds; None when it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
