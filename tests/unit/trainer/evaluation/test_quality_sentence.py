"""The sentence that says what a model is worth."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.trainer.evaluation.test_model_quality import judge
from trainer.evaluation.metrics import summarize
from trainer.evaluation.model_quality import describe_evaluated, describe_trained, rate_model


def trained(right: Sequence[int], images: Sequence[int], *, arch: str = "small_cnn", usable: float = 0.7) -> str:
    return describe_trained(judge(right, images, usable=usable), arch=arch).text


def test_a_weak_model_comes_with_its_figures_and_what_to_try() -> None:
    assert trained((20, 18, 16, 5, 14), (30, 30, 30, 30, 30)) == (
        "this model is weak: 0.49 on 150 held-out images (95 % interval 0.40-0.57), guessing gives 0.20, a usable "
        "model is above 0.70; try --arch efficientnet_lite0, or more photos of dent"
    )
    best = trained((20, 18, 16, 5, 14), (30, 30, 30, 30, 30), arch="inception_v3")
    assert best.endswith("; add more photos of dent, and look at the mistakes in report.html")


def test_a_usable_model_names_its_weakest_class_and_no_advice() -> None:
    assert trained((48, 47, 40), (50, 50, 50)) == (
        "this model is usable: 0.90 on 150 held-out images (95 % interval 0.84-0.94), guessing gives 0.33, a usable "
        "model is above 0.70; its weakest class is tulips (40 of 50 right)"
    )
    assert trained((50, 50, 50), (50, 50, 50)).endswith("a usable model is above 0.70")


@pytest.mark.parametrize("images", [20, 40, 150, 300, 1200])
def test_no_rounded_figure_contradicts_the_sentence(images: int) -> None:
    figures = r"interval ([\d.]+)-([\d.]+)\), .* gives ([\d.]+), a usable model is above ([\d.]+)"
    half = images // 2
    digits = []
    for right in range(images + 1):
        quality = judge((min(right, half), max(right - half, 0)), (half, half))
        found = re.search(figures, describe_evaluated(quality).text)
        assert found is not None
        low, high, baseline, bound = map(float, found.groups())
        assert low <= quality.interval_95[0] <= quality.interval_95[1] <= high
        misses = quality.kind == "weak" and quality.interval_95[0] > quality.bound
        assert misses <= bool(quality.missed_classes)
        assert (low > bound) == (quality.kind == "usable" or misses)
        assert (high > bound) == (misses or quality.kind in ("usable", "uncertain", "unknown"))
        assert (low > baseline) == (quality.kind in ("usable", "uncertain", "weak"))
        digits.append(len(found.group(1)))
    assert digits.count(min(digits)) > 0.95 * len(digits)


def test_classes_without_a_held_out_image_are_named() -> None:
    text = trained((50, 50, 0), (50, 50, 0))
    assert text.startswith("this model is usable: 1.00 on 100 held-out images")
    assert text.endswith("; nothing is known about tulips, of which there is no held-out image")
    text = trained((10, 10, 0, 0, 0), (50, 50, 0, 0, 0))
    assert "; nothing is known about tulips, dent and scratch, of which there is no held-out image; " in text
    assert text.endswith("or more photos of tulips, dent and scratch")
    only = trained((3, 0), (3, 0))
    assert only.startswith(
        "this model can't be judged by images of one class: 1.00 on 3 held-out images (95 % interval"
    )
    assert "guessing" not in only


def test_images_that_look_like_training_images_are_counted() -> None:
    truth, seen = np.repeat([0, 1], 20), np.arange(40) < 36
    figures = summarize(truth, truth, ("dent", "good"), lookalikes=seen)
    text = describe_trained(rate_model(figures, usable_accuracy=0.7), arch="small_cnn").text
    assert text.startswith(
        "this model can't be judged by images that look like those it was trained on: 1.00 on 4 held"
    )
    assert "; 36 of 40 held-out images look like a training image and don't count; " in text
    assert "; nothing is known about dent, of which no held-out image counts; hold out other images, " in text
