"""The sentence that says what a model is worth."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.unit.trainer.run.test_model_quality import judge
from trainer.run.model_quality import describe_evaluated, describe_trained


def trained(right: Sequence[int], images: Sequence[int], *, arch: str = "small_cnn", usable: float = 0.7) -> str:
    return describe_trained(judge(right, images, usable=usable), arch=arch).text


def test_a_weak_model_comes_with_its_figures_and_what_to_try() -> None:
    assert trained((20, 18, 16, 5, 14), (30, 30, 30, 30, 30)) == (
        "this model is weak: 0.49 on 150 held-out images (95 % interval 0.40-0.57), guessing gives 0.20, a usable "
        "model is above 0.70; try --arch efficientnet_lite0, or more photos of dent"
    )
    best = trained((20, 18, 16, 5, 14), (30, 30, 30, 30, 30), arch="inception_v3")
    assert best.endswith("; add more photos of dent, and look at the mistakes in report.html")


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
