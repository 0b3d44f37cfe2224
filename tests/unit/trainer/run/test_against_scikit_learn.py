"""The figures of a training beside scikit-learn's, which the trainer's environment leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from tests.inputs.logits import sample_logits
from trainer.run.metrics import summarize

CASES = [(1.0, 150, 5), (2.0, 60, 100)]
"""Temperature, images, classes; of 100 classes some have no image and some are never predicted."""


@pytest.mark.parametrize(("temperature", "images", "classes"), CASES)
def test_accuracy_confusion_precision_and_recall_are_those_of_scikit_learn(
    temperature: float, images: int, classes: int
) -> None:
    logits, truth = sample_logits(temperature, images=images, classes=classes)
    predicted, labels = np.argmax(logits, axis=1), range(classes)
    summary = summarize(truth, predicted, [str(label) for label in labels])
    assert summary["val_accuracy"] == accuracy_score(truth, predicted)
    assert summary["confusion"] == confusion_matrix(truth, predicted, labels=labels).tolist()
    for figure, score in (("precision", precision_score), ("recall", recall_score)):
        ours = np.array([values[figure] for values in summary["per_class"].values()], np.float64)  # None is NaN
        theirs = score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
