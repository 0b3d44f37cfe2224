"""The verdict on a model, from the figures of its held-out images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.evaluation.metrics import summarize
from trainer.evaluation.model_quality import ModelQuality, rate_model, render_lines

LABELS = ("daisy", "roses", "tulips")


def measured(right: tuple[int, ...], images: tuple[int, ...]) -> dict[str, Any]:
    """Figures of a model that gets `right[i]` of `images[i]` images of class i right."""
    truth = np.repeat(np.arange(len(images)), images)
    count = len(images)
    answers = [[label] * hits + [(label + 1) % count] * (images[label] - hits) for label, hits in enumerate(right)]
    return summarize(truth, np.array([label for row in answers for label in row]), LABELS[:count])


def judge(
    right: tuple[int, ...], images: tuple[int, ...], *, arch: str = "small_cnn", usable: float = 0.7
) -> ModelQuality:
    return rate_model(measured(right, images), arch=arch, usable_accuracy=usable)


def test_a_model_is_usable_when_the_lower_end_is_above_the_setting() -> None:
    found = judge((48, 47, 40), (50, 50, 50))
    assert found.kind == "usable"
    assert found.text == "usable; worst class tulips"
    assert (found.worst_class, found.worst_recall) == ("tulips", 0.8)
    assert found.images == 150
    assert found.baseline == pytest.approx(1 / 3)
    assert found.interval_95[0] < found.accuracy < found.interval_95[1]


def test_the_setting_decides_between_weak_and_usable() -> None:
    right, images = (48, 47, 40), (50, 50, 50)
    assert judge(right, images, usable=0.9).kind == "weak"
    assert judge(right, images, usable=0.8).kind == "usable"


def test_a_weak_model_is_reported_to_try_the_strongest_architecture() -> None:
    assert judge((30, 25, 18), (50, 50, 50)).text == "weak; worst class tulips: try --arch inception_v3"
    reported = judge((30, 25, 18), (50, 50, 50), arch="inception_v3").text
    assert reported == "weak; worst class tulips: add images, or look at the mistakes in the report"


def test_the_baseline_is_the_most_frequent_class_not_one_of_all_classes() -> None:
    found = judge((88, 2, 2), (90, 5, 5))
    assert found.accuracy == 0.92
    assert (found.baseline_class, found.baseline) == ("daisy", 0.9)
    assert found.kind == "guessing"
    assert found.text == "no better than guessing: try --arch inception_v3"


def test_a_model_without_a_mistake_has_no_worst_class() -> None:
    assert judge((50, 50, 50), (50, 50, 50)).text == "usable; every held-out image is right"
    assert judge((5, 5, 5), (5, 5, 5), usable=0.9).text == "weak: too few held-out images, add more"


def test_few_images_are_no_evidence() -> None:
    assert judge((1, 1), (1, 1)).kind == "guessing"
    assert judge((0, 1), (0, 1)).kind == "guessing"


def test_the_lines_hold_every_figure() -> None:
    figures, verdict = render_lines(judge((48, 47, 40), (50, 50, 50)).to_dict())
    assert figures == (
        "accuracy 0.900 (0.842 to 0.938 with 95 % confidence) on 150 held-out images; "
        "always answering 'daisy' gets 0.333"
    )
    assert verdict == "verdict: usable; worst class tulips"
