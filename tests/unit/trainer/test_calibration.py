"""Scores from logits, their bins and their calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.calibration import likelihoods, prior_correction, softmax


def test_the_prior_correction_gives_the_classes_their_shares_again() -> None:
    """A weighted model that knows nothing of an image gives each class the same share; the data have 1 and 40."""
    bias = prior_correction((1.0, 1 / 40))
    assert softmax(np.zeros((1, 2)), 3.0, bias)[0] == pytest.approx([1 / 41, 40 / 41])
    assert likelihoods(np.zeros((1, 2)), np.array([0]), 3.0, bias) == pytest.approx(np.log(41))
    assert prior_correction(()) is None
