"""Evaluates a run through TensorFlow, with the SavedModel as training wrote it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from converters.evaluation.model import ImagePrediction
from trainer.run.run import open_run


class RunModel:
    """A run's SavedModel that is evaluated in this process.

    Args:
        path: Directory of the run.

    Raises:
        RunError: The run isn't complete, or is damaged.
    """

    kind = "run"

    def __init__(self, path: Path) -> None:
        run = open_run(path)
        self.name = f"{path.name} ({run.name} {run.version})"
        self.labels: tuple[str, ...] | None = run.labels
        self.run: Path | None = path
        self.is_balanced: bool | None = run.is_balanced
        split = run.split()
        self.trained_on: frozenset[str] | None = (
            None if split is None else frozenset(digest for digest, entry in split.items() if entry.split == "train")
        )
        self._labels, self._recipe = run.labels, run.recipe
        self._model = tf.saved_model.load(str(run.saved_model))  # the signature lives only as long as its model
        self._serve = self._model.signatures["serving_default"]

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image."""
        started = time.perf_counter()
        tensor = self._recipe.tensor(data)[np.newaxis]
        outputs = self._serve(image=tf.constant(tensor))
        logits, probabilities = (outputs[name].numpy()[0] for name in ("logits", "probabilities"))
        time_ms = (time.perf_counter() - started) * 1000
        best = int(np.argmax(logits))  # scores may be corrected for class weights, which changes no label
        return ImagePrediction(label=self._labels[best], score=float(probabilities[best]), time_ms=time_ms)
