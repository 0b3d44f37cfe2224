"""Figures about held-out images, beside scikit-learn's, and the samples that travel with a run."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from eaves.media_type import SUFFIXES
from tests.inputs.logits import sample_logits
from trainer.data.dataset import scan
from trainer.run.metrics import summarize
from trainer.run.run_records import MAX_SAMPLES, choose_samples, copy_samples


@pytest.mark.parametrize("classes", [2, 30, MAX_SAMPLES + 40])
def test_samples_cover_every_class_and_are_held_out(tmp_path: Path, classes: int):
    data, work = tmp_path / "data", tmp_path / "work"
    for label in range(classes):
        (data / f"{label:03d}").mkdir(parents=True)
        for number in range(20):
            (data / f"{label:03d}" / f"{number}{SUFFIXES[number % 2].upper()}").write_bytes(
                f"{label} {number}".encode()
            )
    dataset = scan(data, val_fraction=0.3)
    chosen = choose_samples(dataset)
    assert {item.label for item in chosen} == set(dataset.labels)
    assert {item.split for item in chosen} == {"val"}
    assert len(chosen) <= max(MAX_SAMPLES, classes)
    work.mkdir()
    for name, item in copy_samples(dataset, work).items():
        assert hashlib.sha256((work / name).read_bytes()).hexdigest() == item["sha256"]


CASES = [(1.0, 150, 5), (2.0, 60, 100)]
"""Temperature, images, classes; of 100 classes some have no image and some are never predicted."""


@pytest.mark.parametrize(("temperature", "images", "classes"), CASES)
def test_accuracy_confusion_precision_and_recall_are_those_of_scikit_learn(
    temperature: float, images: int, classes: int
):
    logits, truth = sample_logits(temperature, images=images, classes=classes)
    predicted, labels = np.argmax(logits, axis=1), range(classes)
    summary = summarize(truth, predicted, [str(label) for label in labels])
    assert summary["val_accuracy"] == accuracy_score(truth, predicted)
    assert summary["confusion"] == confusion_matrix(truth, predicted, labels=labels).tolist()
    for figure, score in (("precision", precision_score), ("recall", recall_score)):
        ours = np.array([values[figure] for values in summary["per_class"].values()], np.float64)  # None is NaN
        theirs = score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
