"""Scores from logits, their bins and their calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.calibration import (
    LOWEST,
    errors_by_label,
    expected_error,
    likelihoods,
    prior_correction,
    score_bins,
    softmax,
)


def test_the_error_worked_by_hand() -> None:
    found = score_bins(np.array([0.9, 0.91, 0.55, 1.0]), np.array([True, False, False, True]))
    assert [item.images for item in found] == [1, 2, 1]
    assert [item.accuracy for item in found] == [0.0, 0.5, 1.0]
    assert expected_error(found) == pytest.approx((0.55 + 2 * (0.905 - 0.5) + 0) / 4)


def test_logits_of_any_size_stay_finite() -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert np.isfinite(likelihoods(logits, np.array([1, 1]), LOWEST)).all()
    assert np.allclose(softmax(logits, LOWEST).sum(axis=1), 1)


def test_every_image_may_have_its_own_temperature() -> None:
    logits = np.array([[2.0, 1.0], [2.0, 1.0]])
    both = softmax(logits, np.array([1.0, 4.0]))
    assert np.allclose(both, [softmax(logits[:1], 1.0)[0], softmax(logits[:1], 4.0)[0]])
    assert np.allclose(likelihoods(logits, np.array([0, 1]), np.array([1.0, 4.0])), -np.log([both[0, 0], both[1, 1]]))


def test_the_score_is_that_of_the_label_even_if_another_is_higher() -> None:
    predicted, truth = np.array([0, 0, 1]), np.array([0, 1, 1])
    scores = np.array([0.3, 0.3, 0.9])
    assert errors_by_label(scores, predicted, truth, 3) == [pytest.approx(0.2), pytest.approx(0.1), None]


def test_the_prior_correction_gives_the_classes_their_shares_again() -> None:
    """A weighted model that knows nothing of an image gives each class the same share; the data have 1 and 40."""
    bias = prior_correction((1.0, 1 / 40))
    assert softmax(np.zeros((1, 2)), 3.0, bias)[0] == pytest.approx([1 / 41, 40 / 41])
    assert likelihoods(np.zeros((1, 2)), np.array([0]), 3.0, bias) == pytest.approx(np.log(41))
    assert prior_correction(()) is None
