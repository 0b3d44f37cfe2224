"""What the page of a run shows beside its report: what the model takes for what, and the mistaken photos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eaves.base.statistics import round_outward, wilson
from eaves.console.model.words import clean_text, count_noun
from trainer.evaluation.held_out import HeldOutAnswer

if TYPE_CHECKING:
    from eaves.console.catalog import RunFiles

REPORT = "report.html"
"""File in which a training has reported on its run, for people."""
MATRIX_CLASSES = 20
"""Maximum number of classes for which the page has a matrix; with more it lists the pairs confused most often."""
PAIRS = 50
HEATS = 5
"""Number of shades of a cell, besides none."""
PHOTOS = 12
"""Maximum number of mistaken photos on one page."""


def format_percent(share: float) -> str:
    """Return a share as a percentage; a share between 0 and 1 is never rounded to 0 or 100."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    return f"{share * 100:.1f}%"


def describe_accuracy(right: int, images: int, interval: tuple[float, float] | None) -> tuple[str, str]:
    """Return an accuracy and its evidence, as text.

    Args:
        right: Number of images that the model gets right.
        images: Number of all images.
        interval: 95 % confidence interval, if the images are not independent; None computes it from the numbers.
    """
    if not images:
        return "not known", "no image"
    low, high = round_outward(interval or wilson(right, images), 3)
    ends = f"95% interval {format_percent(low)} to {format_percent(high)}"
    return format_percent(right / images), f"{right:,} of {count_noun(images, 'image')}, {ends}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the matrix.

    Attributes:
        truth: Position of the true class.
        predicted: Position of the predicted class.
        count: Number of images.
        heat: Shade by the share of the true class's images, 0 (none) to `HEATS`.
        text: The cell as a sentence.
    """

    truth: int
    predicted: int
    count: int
    heat: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """A page of photos that the model mistakes.

    Attributes:
        title: What the photos are, as a sentence.
        photos: The model's answers to the photos of this page, the most confident mistake first.
        total: Number of photos on all pages.
        page: Number of this page, from 1.
        pages: Number of pages.
    """

    title: str
    photos: Sequence[HeldOutAnswer]
    total: int
    page: int
    pages: int


def build_run_page(files: RunFiles) -> dict[str, Any]:
    """Return what the template of a run's page shows; unexpected content raises what `foreign_content` translates."""
    run, labels = files.run, files.run.labels
    return {
        "title": clean_text(f"{run.name} {run.version}"),
        "created": parse_time(run.created),
        "verdict": clean_text(run.verdict.get("text", "")),
        "accuracy": files.accuracy,
        "labels": labels,
        "matrix": build_cells(labels, files.confusion) if len(labels) <= MATRIX_CLASSES else (),
        "pairs": build_pairs(labels, files.confusion),
        "has_report": (run.path / REPORT).is_file(),
    }


def build_cells(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """Return the cells of the matrix: rows are true classes, columns are predicted classes."""
    return [
        [_build_cell(labels, row, truth, predicted) for predicted in range(len(labels))]
        for truth, row in enumerate(confusion)
    ]


def build_pairs(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[Cell]:
    """Return the pairs of classes that are confused most often, at most `PAIRS`."""
    wrong = [
        (count, truth, predicted)
        for truth, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and truth != predicted
    ]
    most = sorted(wrong, key=lambda item: (-item[0], item[1], item[2]))[:PAIRS]
    return [_build_cell(labels, confusion[truth], truth, predicted) for _, truth, predicted in most]


def select_mistakes(
    answers: Mapping[str, HeldOutAnswer],
    labels: Sequence[str],
    *,
    truth: int | None = None,
    predicted: int | None = None,
    page: int = 1,
) -> Mistakes:
    """Return the photos of one cell, or all photos that the model mistakes.

    Args:
        answers: The model's answer to each held-out image.
        labels: Class names.
        truth: Position of the true class; None, or a position that no class has, selects all mistakes.
        predicted: Position of the predicted class.
        page: Number of the page; a number beyond the last page gives the last page.
    """
    known = range(len(labels))
    if truth is not None and truth in known and predicted is not None and predicted in known:
        wanted = labels[truth], labels[predicted]
        found = [answer for answer in answers.values() if (answer.label, answer.predicted) == wanted]
        how = "gets right" if truth == predicted else f"takes for {wanted[1]}"
        title = f"{count_noun(len(found), 'image')} of {wanted[0]} that the model {how}"
    else:
        found = [answer for answer in answers.values() if answer.label != answer.predicted]
        title = f"{count_noun(len(found), 'image')} that the model gets wrong"
    found.sort(key=lambda answer: (-answer.score, answer.digest))
    pages = max(1, math.ceil(len(found) / PHOTOS))
    page = min(max(1, page), pages)
    shown = found[(page - 1) * PHOTOS : page * PHOTOS]
    return Mistakes(title=title, photos=shown, total=len(found), page=page, pages=pages)


def describe_level(kind: str) -> str:
    """Return the words for the level of a verdict, for a badge."""
    return {
        "usable": "usable",
        "uncertain": "not shown to be usable",
        "weak": "weak",
        "guessing": "no better than guessing",
        "unknown": "too few images to tell",
    }.get(kind, "not rated")


def parse_time(text: object) -> float | None:
    """Return an ISO 8601 time as Unix seconds; None when it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _build_cell(labels: Sequence[str], row: Sequence[int], truth: int, predicted: int) -> Cell:
    count, images = row[predicted], sum(row)
    verb = "found" if truth == predicted else f"taken for {labels[predicted]}"
    return Cell(
        truth=truth,
        predicted=predicted,
        count=count,
        heat=math.ceil(count / images * HEATS) if images else 0,
        text=f"{count:,} of {count_noun(images, 'image')} of {labels[truth]} {verb}",
    )
