"""Temperature scaling: it is used where held-out images show that it helps, and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inputs.logits import sample_logits
from trainer.evaluation.calibration import calibration_error, likelihoods, softmax
from trainer.evaluation.temperature import FOLDS, HIGHEST, LEAST_IMAGES, LOWEST, calibrate, cross_fit, fit_temperature


@pytest.mark.parametrize("temperature", [0.3, 2.5, 8.0])
def test_a_known_temperature_is_found_and_used(temperature: float) -> None:
    found = calibrate(*sample_logits(temperature))
    assert found.temperature == found.fitted_temperature == pytest.approx(temperature, rel=0.05)
    assert found.ece_after < 0.02
    assert found.ece_before > 3 * found.ece_after
    assert found.nll_after < found.nll_before
    assert found.nll_gain_interval_95 is not None
    assert 0 < found.nll_gain_interval_95[0] < found.nll_before - found.nll_after < found.nll_gain_interval_95[1]
    assert f"the temperature is {found.temperature:.3f}: it lowers the negative log-likelihood of 20000" in found.text


@pytest.mark.parametrize("images", [LEAST_IMAGES, 150, 5_000])
def test_scores_that_are_right_already_stay_as_they_are(images: int) -> None:
    logits, truth = sample_logits(1.0, images=images)
    found = calibrate(logits, truth)
    assert found.fitted_temperature != 1.0
    assert found.temperature == 1.0
    assert found.ece_after == found.ece_before == calibration_error(softmax(logits), truth)
    assert f"do not show that scaling by {found.fitted_temperature:.3f} lowers" in found.text


def test_a_temperature_is_rarely_used_in_vain_and_mostly_where_it_is_needed() -> None:
    """With 150 held-out images: at most 5 % of calibrated models, and 90 % of models that are twice too sure."""
    used = {
        needed: np.mean(
            [calibrate(*sample_logits(needed, images=150, seed=seed)).temperature != 1 for seed in range(60)]
        )
        for needed in (1.0, 2.0)
    }
    assert used[1.0] <= 0.05
    assert used[2.0] >= 0.9


def test_few_images_fit_no_temperature() -> None:
    logits, truth = sample_logits(8.0, images=LEAST_IMAGES - 1)
    found = calibrate(logits, truth)
    assert found.nll_gain_interval_95 is not None
    assert found.nll_gain_interval_95[0] > 0
    assert found.temperature == 1.0
    assert found.text == f"the temperature is 1: {LEAST_IMAGES} held-out images are needed to fit one (got 49)"
    assert calibrate(*sample_logits(8.0, images=LEAST_IMAGES)).temperature > 1


@pytest.mark.parametrize("truth", [0, 1])
def test_one_image_changes_no_score(truth: int) -> None:
    found = calibrate(np.array([[3.0, 1.0]], np.float32), np.array([truth]))
    assert found.temperature == 1.0
    assert found.nll_gain_interval_95 is None
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_each_image_is_judged_at_a_temperature_that_was_fitted_without_it() -> None:
    """Only the first fold holds mistakes: the others' fits know of none, and its own fit, of all images, does."""
    logits = np.tile(np.array([[4.0, 0.0]], np.float32), (20 * FOLDS, 1))
    truth = np.zeros(len(logits), np.int64)
    truth[0 :: 2 * FOLDS] = 1
    first = np.arange(len(truth)) % FOLDS == 0
    temperatures = cross_fit(logits, truth)
    assert set(temperatures[first]) == {fit_temperature(logits[~first], truth[~first])} == {1.0}
    assert (temperatures[~first] > 1.5).all()
    found = calibrate(logits, truth)
    assert found.fitted_temperature > 1.5
    assert found.nll_after == pytest.approx(likelihoods(logits, truth, temperatures).mean())
    assert found.nll_after > likelihoods(logits, truth, found.fitted_temperature).mean()


def test_the_reported_error_is_the_honest_one() -> None:
    logits, truth = sample_logits(2.5, images=200)
    found = calibrate(logits, truth)
    assert found.temperature > 1
    assert found.ece_after == calibration_error(softmax(logits, cross_fit(logits, truth)), truth)
    assert found.ece_after != calibration_error(softmax(logits, found.temperature), truth)


@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(2, 6), st.floats(0.01, 100))
def test_no_label_changes_and_what_is_used_helps(seed: int, images: int, classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(images, classes)) * scale).astype(np.float32)
    truth = rng.integers(0, classes, images)
    found = calibrate(logits, truth)
    assert LOWEST <= found.fitted_temperature <= HIGHEST
    assert found.temperature in (1.0, found.fitted_temperature)
    assert found.temperature == 1.0 or found.nll_after < found.nll_before
    assert 0 <= found.ece_after <= 1
    order = np.argmax(softmax(logits, found.temperature), axis=1)
    assert np.array_equal(order, np.argmax(logits, axis=1))


def test_when_all_are_right_nothing_is_known_about_mistakes() -> None:
    logits = np.tile(np.eye(3, dtype=np.float32) * 4, (100, 1))
    found = calibrate(logits, np.tile(np.arange(3), 100))
    assert found.temperature == found.fitted_temperature == 1.0
    assert found.ece_before == found.ece_after == pytest.approx(1 - softmax(logits).max())
    assert found.text.startswith("the temperature is 1: the model is right on all 300 held-out images")


def test_when_all_are_wrong_the_scores_become_as_flat_as_they_may() -> None:
    assert fit_temperature(np.eye(3) * 4, np.array([1, 2, 0])) == pytest.approx(HIGHEST)
