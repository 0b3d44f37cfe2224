"""Linear heads on features: the ridge is the closed form, sums add up, and softmax is the convex optimum."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from trainer.calibration import softmax
from trainer.model.linear_head import HeadRecipe, LabelledRows, find_axes, fit_divisor, fit_heads

SOFTMAX = HeadRecipe(kind="softmax", strength=2.0)


def draw(count: int, size: int, classes: int, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Features of overlapping classes, (count, size), far from 0, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(size=(classes, size)) * 0.8
    return 5 + centres[labels] + rng.normal(size=(count, size)), labels.astype(np.int64)


@pytest.mark.parametrize(("count", "size"), [(90, 7), (20, 40)])
def test_a_ridge_is_that_of_scikit_learn(count: int, size: int):
    features, labels = draw(count, size, 3)
    weights = np.where(labels == 0, 2.0, 0.5)
    rows = LabelledRows(labels=labels, groups=(), weights=weights, classes=3)
    (head,) = fit_heads((HeadRecipe(kind="ridge", strength=0.3),), features, rows)
    expected = Ridge(alpha=0.3 * find_axes(features, rows).spread, solver="svd")
    expected.fit(features, np.eye(3)[labels], sample_weight=weights)
    np.testing.assert_allclose(head(features), expected.predict(features), atol=1e-8)


@pytest.mark.parametrize(("count", "size", "classes"), [(200, 6, 2), (90, 7, 4), (30, 60, 3)])
def test_softmax_finds_the_optimum_that_scikit_learn_finds(count: int, size: int, classes: int):
    features, labels = draw(count, size, classes)
    rows = LabelledRows(labels=labels, groups=(), weights=np.ones(count), classes=classes)
    (head,) = fit_heads((SOFTMAX,), features, rows)
    scaled = (features - features.mean(axis=0)) / np.sqrt(find_axes(features, rows).spread / size)
    doubled = 2 if classes == 2 else 1  # it has one vector of weights for two classes
    expected = LogisticRegression(C=doubled / SOFTMAX.strength, tol=1e-8, max_iter=10_000).fit(scaled, labels)
    np.testing.assert_allclose(softmax(head(features)), expected.predict_proba(scaled), atol=0.01)


def test_scores_of_weighted_classes_are_divided_by_what_makes_them_logits_of_the_weighted_shares():
    """The rare class is three times as wide: without the correction, the divisor would be a third too small."""
    rng = np.random.default_rng(0)
    labels = (rng.random(60_000) < 1 / 11).astype(np.int64)
    values = np.where(labels == 1, rng.normal(2, 3, labels.size), rng.normal(0, 1, labels.size))
    weighted = -((values - 2) ** 2) / 18 - np.log(3) + values**2 / 2  # log of the ratio of the classes' densities
    scores = 4 * np.stack([np.zeros_like(weighted), weighted], axis=1)
    bias = -np.log(np.array([0.1, 1.0]))
    assert fit_divisor(scores, labels, bias) == pytest.approx(4, rel=0.05)
    assert fit_divisor(scores, labels) != pytest.approx(4, rel=0.2)
