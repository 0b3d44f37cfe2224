"""The rating of a model, from its answers to images that it was not trained on, and the sentence that says it."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from eaves.base.statistics import wilson
from trainer.run.metrics import summarize
from trainer.run.model_quality import ModelQuality, describe_evaluated, rate_model

LABELS = ("daisy", "roses", "tulips", "dent", "scratch")


def measured(right: Sequence[int], images: Sequence[int]) -> dict[str, Any]:
    """Figures of a model that gets `right[i]` of `images[i]` images of class i right."""
    truth = np.repeat(np.arange(len(images)), images)
    count = len(images)
    answers = [[label] * hits + [(label + 1) % count] * (images[label] - hits) for label, hits in enumerate(right)]
    return summarize(truth, np.array([label for row in answers for label in row]), LABELS[:count])


def judge(right: Sequence[int], images: Sequence[int], *, usable: float = 0.7) -> ModelQuality:
    return rate_model(measured(right, images), usable_accuracy=usable)


def even(right: int, images: int, *, usable: float = 0.7) -> str:
    """The level of a model that gets `right` of `images` right, in two classes of the same size."""
    half = images // 2
    hits = right // 2
    return judge((hits, right - hits), (half, images - half), usable=usable).kind


@pytest.mark.parametrize("images", [3, 20, 150])
def test_every_level_is_what_the_interval_shows(images: int):
    """No level claims what the interval leaves open, for any number of right answers."""
    order = ["guessing", "unknown", "weak", "uncertain", "usable"]
    seen = []
    for right in range(images + 1):
        low, high = wilson(right, images)
        level = even(right, images)
        half = (images - images // 2) / images
        assert (level == "usable") == (low > 0.7 and images >= 10)
        assert level not in ("weak", "guessing") or high <= 0.7
        assert level not in ("weak", "uncertain", "usable") or low > half
        assert level != "guessing" or low <= half
        seen.append(order.index(level))
    assert seen == sorted(seen)


def judge_defects(good: int, defects: int, recall_good: float, recall_defect: float, **given: Any) -> ModelQuality:
    """A detector of defects that was trained with weights by which both classes count alike."""
    right = np.concatenate(
        [np.arange(good) < round(good * recall_good), np.arange(defects) < round(defects * recall_defect)]
    )
    truth = np.repeat([0, 1], [good, defects])
    figures = summarize(truth, np.where(right, truth, 1 - truth), ("good", "defect"), is_balanced=True, **given)
    return rate_model(figures, usable_accuracy=0.7)


def test_a_good_detector_of_rare_defects_is_usable_and_one_that_misses_them_is_not():
    """Judged by accuracy, the first was no better than always good, and the third was usable."""
    found = judge_defects(400, 10, 0.975, 1.0)
    assert (found.kind, found.figure, found.baseline) == ("usable", "mean recall", 0.5)
    assert judge_defects(2000, 50, 0.97, 1.0).kind == "usable"
    assert judge_defects(2000, 50, 1.0, 0.3).kind != "usable"
    assert judge_defects(80, 2, 1.0, 1.0).kind != "usable", "two defects show nothing"


def test_a_model_that_misses_a_class_is_not_usable_however_good_the_others_are():
    found = judge((480, 480, 480, 100), (500, 500, 500, 500), usable=0.7)
    assert found.interval_95[0] > 0.7
    assert (found.kind, [item.name for item in found.missed_classes]) == ("weak", ["dent"])


def test_shots_of_few_parts_are_not_taken_for_as_many_images():
    truth = np.repeat([0, 1], 100)
    parts = [f"{label}-{shot // 20}" for label in (0, 1) for shot in range(100)]
    found = rate_model(summarize(truth, truth, LABELS[:2], groups=parts), usable_accuracy=0.7)
    assert (found.groups, found.images) == (10, 200)
    assert found.interval_95[0] < 0.75
    few = [f"{label}-{shot // 25}" for label in (0, 1) for shot in range(100)]
    assert rate_model(summarize(truth, truth, LABELS[:2], groups=few), usable_accuracy=0.5).kind == "unknown"


def test_images_that_look_like_training_images_dont_count_for_their_class_either():
    """A class that is right where the model has seen it, and never else, was no reason against `usable`."""
    truth = np.repeat([0, 1, 2, 3, 4], [60, 60, 60, 60, 40])
    seen = np.arange(280) >= 250
    answers = np.where((truth == 4) & ~seen, 0, truth)
    found = rate_model(summarize(truth, answers, LABELS, lookalikes=seen), usable_accuracy=0.7)
    assert found.interval_95[0] > 0.7
    assert (found.kind, [(item.right, item.images) for item in found.missed_classes]) == ("weak", [(0, 10)])
    whole = rate_model(summarize(truth, truth, LABELS, lookalikes=truth == 4), usable_accuracy=0.7)
    assert whole.unmeasured == ("scratch",)


@pytest.mark.parametrize("images", [20, 150])
def test_no_rounded_figure_contradicts_the_sentence(images: int):
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
