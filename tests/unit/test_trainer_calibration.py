"""Temperature scaling, on logits whose temperature is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.calibration import (
    BINS,
    HIGHEST,
    LOWEST,
    bins,
    calibrate,
    calibration_error,
    fit_temperature,
    likelihood,
    softmax,
)

Floats = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


def sample(temperature: float, *, images: int = 20_000, classes: int = 5, seed: int = 0) -> tuple[Floats, Labels]:
    """Logits that are right when divided by `temperature`, and truths drawn from what they then say."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=2, size=(images, classes))
    totals = softmax(honest).cumsum(axis=1)
    truth = np.minimum((rng.random((images, 1)) > totals).sum(axis=1), classes - 1)
    return (honest * temperature).astype(np.float32), truth


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, truth = sample(temperature)
    found = calibrate(logits, truth)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.ece_after < 0.02
    assert found.ece_cross_fitted == pytest.approx(found.ece_after, abs=0.01)
    if temperature != 1.0:
        assert found.ece_before > 3 * found.ece_after


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6), st.floats(0.01, 100))
def test_the_truth_is_never_less_likely_than_without(seed: int, images: int, classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(images, classes)) * scale).astype(np.float32)
    truth = rng.integers(0, classes, images)
    found = calibrate(logits, truth)
    assert LOWEST <= found.temperature <= HIGHEST
    assert found.nll_after <= found.nll_before + 1e-9
    assert 0 <= found.ece_after <= 1
    order = np.argmax(softmax(logits, found.temperature), axis=1)
    assert np.array_equal(order, np.argmax(logits, axis=1))


def test_when_all_are_right_nothing_is_known_about_mistakes() -> None:
    logits = np.eye(3, dtype=np.float32) * 4
    found = calibrate(logits, np.arange(3))
    assert found.temperature == 1.0
    assert found.ece_before == found.ece_after == pytest.approx(1 - softmax(logits).max())


def test_when_all_are_wrong_the_scores_become_as_flat_as_they_may() -> None:
    assert fit_temperature(np.eye(3) * 4, np.array([1, 2, 0])) == pytest.approx(HIGHEST)


@pytest.mark.parametrize(("truth", "temperature"), [(0, 1.0), (1, HIGHEST)])
def test_one_image_is_enough_to_go_on(truth: int, temperature: float) -> None:
    found = calibrate(np.array([[3.0, 1.0]], np.float32), np.array([truth]))
    assert found.temperature == pytest.approx(temperature)
    assert found.ece_cross_fitted is None


def test_the_error_worked_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.91, 0.09], [0.55, 0.45], [1.0, 0.0]])
    truth = np.array([0, 1, 1, 0])
    found = bins(probabilities, truth)
    assert [item.images for item in found] == [1, 2, 1]
    assert [item.accuracy for item in found] == [0.0, 0.5, 1.0]
    assert calibration_error(probabilities, truth) == pytest.approx((0.55 + 2 * (0.905 - 0.5) + 0) / 4)


def test_bins_hold_every_image_once() -> None:
    logits, truth = sample(1.0, images=997)
    found = bins(softmax(logits), truth)
    assert sum(item.images for item in found) == 997
    assert len(found) <= BINS


def test_logits_of_any_size_stay_finite() -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert np.isfinite(likelihood(logits, np.array([1, 1]), LOWEST))
    assert np.allclose(softmax(logits, LOWEST).sum(axis=1), 1)
