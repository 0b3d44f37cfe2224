"""Compares two runs on the images that both hold out, by the answers that the runs keep; no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from converters.evaluation.metrics import Pairing, Right
from eaves.console.catalog.directories import foreign_content
from eaves.console.catalog.figures import Share, format_interval, format_points
from eaves.console.catalog.runs.files import RunFiles
from eaves.console.model.words import clean_text, count_noun
from trainer.evaluation import ACCURACY, MEAN_RECALL
from trainer.evaluation.grouped_statistics import JudgedImages
from trainer.report import charts
from trainer.run.held_out import HELD_OUT_FILE, HeldOutAnswer

DIFFERING = 24
"""Maximum number of images that the page shows of those to which the two runs give different answers."""
EQUAL = 0.01
"""Half the width of an interval around 0, a fraction of 1, within which two models count as equally good."""
SIGNIFICANT = 0.05
_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDifference:
    """The answers of two runs to the images of one class.

    Attributes:
        label: Name of the class.
        first: Share of the images that the first run gets right.
        second: Share of the images that the second run gets right.
        lost: Number of images that only the first run gets right.
        gained: Number of images that only the second run gets right.
        text: What the images show, in words.
    """

    label: str
    first: Share
    second: Share
    lost: int
    gained: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingImage:
    """An image that the two runs answer differently."""

    digest: str
    file: str
    label: str
    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparisonPage:
    """Content of the page that compares two runs.

    Attributes:
        verdict: What is known about the difference, as sentences.
        is_shown: Whether the images show that one of the runs is better.
        own: Accuracy of each run on its own held-out images.
        shared: Accuracy of each run on the images that both hold out; empty when they can't be compared on them.
        classes: The same by class.
        differing: Images that the runs answer differently, those first that the second run gets wrong.
        differing_count: Number of all such images.
        settings: Settings that differ: name, first and second value.
        curves: Title and chart of each figure by epoch, for both runs.
    """

    verdict: str
    is_shown: bool
    own: tuple[Share, Share]
    shared: tuple[Share, ...]
    classes: tuple[ClassDifference, ...]
    differing: tuple[DifferingImage, ...]
    differing_count: int
    settings: tuple[tuple[str, str, str], ...]
    curves: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The answers of both runs to one image."""

    first: HeldOutAnswer
    second: HeldOutAnswer

    @property
    def right(self) -> tuple[bool, bool]:
        return self.first.predicted == self.first.label, self.second.predicted == self.first.label


def compare_runs(first: RunFiles, second: RunFiles) -> RunComparisonPage:
    """Compare two runs.

    Raises:
        ArtifactError: One of the runs holds something that Eaves does not write.
    """
    with foreign_content(f"the comparison of {first.run.path.name} and {second.run.path.name}"):
        pairs, missing = _pair(first, second)
        is_balanced = second.run.is_balanced
        paired = None if missing else _build_pairing(pairs, is_balanced=is_balanced)
        verdict, is_shown = (missing, False) if paired is None else _judge(paired)
        differing = [pair for pair in pairs if pair.first.predicted != pair.second.predicted]
        differing.sort(key=lambda pair: (pair.right[1], not pair.right[0], pair.first.digest))
        return RunComparisonPage(
            verdict=verdict,
            is_shown=is_shown,
            own=(first.accuracy, second.accuracy),
            shared=() if paired is None else _shares(paired),
            classes=tuple(_classes(pairs, first.run.labels)),
            differing=tuple(_differing(pair) for pair in differing[:DIFFERING]),
            differing_count=len(differing),
            settings=tuple(_settings(first.settings, second.settings)),
            curves=tuple(_curves(first, second)),
        )


def _pair(first: RunFiles, second: RunFiles) -> tuple[list[_Pair], str]:
    """Return the answers to the images that both runs hold out, or the reason why there are none."""
    if first.run.labels != second.run.labels:
        return [], "The runs have different classes, so their accuracies can't be compared."
    answers = first.answers, second.answers
    for files, found in zip((first, second), answers, strict=True):
        if found is None:
            return [], (
                f"The run {files.run.path.name} was made by an earlier version of Eaves and keeps no {HELD_OUT_FILE}. "
                "Compare the two with `eaves evaluate`, which runs both models."
            )
    one, other = answers[0] or {}, answers[1] or {}
    pairs = [_Pair(first=one[digest], second=other[digest]) for digest in sorted(one.keys() & other.keys())]
    same = [pair for pair in pairs if pair.first.label == pair.second.label]
    if not same:
        return [], "The runs hold out different images, so their accuracies can't be compared."
    return same, ""


def _judge(paired: Pairing) -> tuple[str, bool]:
    low, high = paired.interval
    figures = (
        f"{format_points(paired.difference)} of {paired.figure}, 95% interval {format_interval(low, high)}, "
        f"on {count_noun(paired.images, 'image')} that neither run was trained on"
    )
    counts = f"Only the first is right on {paired.lost:,}, only the second on {paired.gained:,}."
    if low > 0 or high < 0:
        return f"The second run is {'better' if low > 0 else 'worse'}: {figures}. {counts}", True
    if low >= -EQUAL and high <= EQUAL:
        return f"The runs are equally good: {figures}. {counts}", False
    return f"There are too few images to tell which run is better: {figures}. {counts}", False


def _build_pairing(pairs: Sequence[_Pair], *, is_balanced: bool = False) -> Pairing:
    labels = sorted({pair.first.label for pair in pairs})
    strata = np.array([labels.index(pair.first.label) if is_balanced else 0 for pair in pairs], np.int64)
    first, second = (np.array([pair.right[side] for pair in pairs]) for side in (0, 1))
    judged = JudgedImages.of_names([pair.first.group_name for pair in pairs], strata)
    return Pairing(judged=judged, first=first, second=second, figure=MEAN_RECALL if is_balanced else ACCURACY)


def _shares(paired: Pairing) -> tuple[Share, Share]:
    one, other = (_share(paired.judged, right) for right in (paired.first, paired.second))
    return one, other


def _share(judged: JudgedImages, right: Right) -> Share:
    found = replace(judged, strata=np.zeros_like(judged.strata)).estimate(right)
    return Share(right=int(right.sum()), images=found.images, ends=(found.low, found.high))


def _classes(pairs: Sequence[_Pair], labels: Sequence[str]) -> list[ClassDifference]:
    by_class: dict[str, list[_Pair]] = {label: [] for label in labels}
    for pair in pairs:
        by_class.setdefault(pair.first.label, []).append(pair)
    return [_class(clean_text(label), found) for label, found in by_class.items() if found]


def _class(label: str, pairs: Sequence[_Pair]) -> ClassDifference:
    paired = _build_pairing(pairs)
    first, second = _shares(paired)
    lost, gained = paired.lost, paired.gained
    if not lost and not gained:
        text = "the same images are right"
    elif paired.p_value >= SIGNIFICANT:
        text = "too few images to tell"
    else:
        text = "better" if gained > lost else "worse"
    return ClassDifference(label=label, first=first, second=second, lost=lost, gained=gained, text=text)


def _differing(pair: _Pair) -> DifferingImage:
    return DifferingImage(
        digest=pair.first.digest,
        file=clean_text(pair.first.file),
        label=clean_text(pair.first.label),
        first=clean_text(pair.first.predicted),
        second=clean_text(pair.second.predicted),
    )


def _settings(first: Mapping[str, object], second: Mapping[str, object]) -> list[tuple[str, str, str]]:
    return [
        (clean_text(name, _TEXT), _value(first, name), _value(second, name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]


def _value(values: Mapping[str, object], name: str) -> str:
    return clean_text(values[name], _TEXT) if name in values else "not set"


def _curves(first: RunFiles, second: RunFiles) -> list[tuple[str, Markup]]:
    made = []
    for name in ("val_accuracy", "val_loss"):
        lines = [
            charts.Line(css=css, values=[epoch[name] for epoch in files.history if name in epoch])
            for css, files in (("train", first), ("val", second))
        ]
        title = name.replace("val_", "held-out ")
        y_max = 1.0 if name == "val_accuracy" else None
        made.append((title, charts.draw_curves(lines, y_label=title, y_max=y_max)))
    return made
