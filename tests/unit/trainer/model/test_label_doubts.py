"""Which labels are doubted, and what leaving one out does to the predictions of others."""

import numpy as np
import numpy.typing as npt
import pytest

from trainer.model.candidates import estimate_interval, score_folds
from trainer.model.label_doubts import RIDGES, judge_labels, measure_harm
from trainer.model.linear_head import LabelledRows

Floats = npt.NDArray[np.float64]


def draw_classes(count: int, size: int, *, distance: float, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Draw features of two classes that are apart along the first dimension."""
    labels = np.arange(count) % 2
    features = np.random.default_rng(seed).normal(size=(count, size))
    features[:, 0] += distance * labels
    return features, labels


def test_no_image_is_predicted_by_a_fit_that_has_seen_it():
    drawn = [draw_classes(60, 40, distance=0, seed=seed) for seed in range(12)]
    found = [judge_labels(features, LabelledRows.of(labels.tolist())) for features, labels in drawn]
    assert np.mean([judged.right.mean() for judged in found]) < 0.6  # a fit that sees the image is right on all
    assert all(estimate_interval(judged.right, judged.rows)[0] < 0.65 for judged in found)
    assert not any(judged.describe("ab")[0] for judged in found)


def test_a_pile_is_predicted_by_other_piles():
    features, labels = draw_classes(50, 60, distance=0)
    features, labels = np.repeat(features, 4, axis=0), np.repeat(labels, 4)
    alone = judge_labels(features, LabelledRows.of(labels.tolist()))
    piles = judge_labels(features, LabelledRows.of(labels.tolist(), [str(row // 4) for row in range(200)]))
    assert alone.right.mean() > 0.95
    assert piles.right.mean() < 0.7


@pytest.mark.parametrize("size", [8, 200])
def test_heads_are_fitted_to_the_chosen_images_only(size: int):
    features, labels = draw_classes(80, size, distance=1.0)
    fitted = np.arange(80) < 50
    before = score_folds(features, LabelledRows.of(labels.tolist()), RIDGES, fitted)
    features[~fitted] = 9.0
    after = score_folds(features, LabelledRows.of(labels.tolist()), RIDGES, fitted)
    assert np.allclose(before[:, fitted], after[:, fitted])
    assert not np.allclose(before[:, ~fitted], after[:, ~fitted])


def test_the_harm_of_an_image_is_that_of_fits_without_it():
    features, labels = draw_classes(40, 6, distance=1.5)
    judged = judge_labels(features, LabelledRows.of(labels.tolist()))
    folds, wanted = judged.rows.folds(), np.eye(2)[labels]

    def error(fold: int, without: int) -> tuple[float, int]:
        trained, held = folds != fold, folds == fold
        spread = np.sum((features[trained] - features[trained].mean(axis=0)) ** 2) / trained.sum()
        trained[without : without + 1] = False
        means = features[trained].mean(axis=0), wanted[trained].mean(axis=0)
        centred = features[trained] - means[0]
        penalty = judged.recipe.strength * spread * np.eye(6)
        kernel = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted[trained] - means[1]))
        return float(np.sum((wanted[held] - means[1] - (features[held] - means[0]) @ kernel) ** 2)), int(held.sum())

    asked = np.array([3, 17, 38])
    expected = []
    for row in asked.tolist():
        pairs = [(error(fold, 40), error(fold, row)) for fold in set(folds.tolist()) - {int(folds[row])}]
        images = sum(held for (_, held), _ in pairs)
        expected.append(sum(whole - without for (whole, _), (without, _) in pairs) / images)
    assert measure_harm(features, judged, asked) == pytest.approx(expected, rel=1e-6)


def test_wrong_labels_are_doubted_and_harm_others():
    features, truth = draw_classes(200, 12, distance=8.0)
    labels = truth.copy()
    wrong = [4, 51, 120, 163]
    labels[wrong] = 1 - labels[wrong]
    judged = judge_labels(features, LabelledRows.of(labels.tolist()))
    assert sorted(judged.find_doubtful().tolist()) == wrong
    assert (judged.predicted[wrong] == truth[wrong]).all()
    harm = measure_harm(features, judged, np.arange(200))
    assert sorted(np.argsort(-harm)[:4].tolist()) == wrong
    assert (harm[wrong] > 0).all()
    assert np.mean(harm < 0) > 0.5
