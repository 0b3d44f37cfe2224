"""From an image's bytes to labels with scores, with the time each stage took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eaves import images
from eaves.artifact import Artifact
from functions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        labels: Best first.
        scores: Probability of each, 0..1.
        timings_ms: Milliseconds by stage: `decode`, `preprocess`, `infer`.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    timings_ms: Mapping[str, float]


class Classifier:
    """Recipe, session and labels of one artifact; safe to call from many threads."""

    def __init__(self, artifact: Artifact, session: Session, *, top_k: int) -> None:
        self.artifact = artifact
        self._session = session
        self._recipe = artifact.manifest.recipe
        self._labels = artifact.manifest.labels
        self._top_k = min(top_k, len(self._labels))

    def predict(self, data: bytes) -> Prediction:
        """Classify one encoded image.

        Raises:
            ImageError: When it can't be decoded or is too large.
        """
        start = time.perf_counter()
        pixels = images.decode(data, at_least=(self._recipe.height, self._recipe.width))
        decoded = time.perf_counter()
        tensor = self._recipe.apply(pixels)
        prepared = time.perf_counter()
        _, probabilities = self._session.run(tensor[np.newaxis])
        done = time.perf_counter()
        order = np.argsort(-probabilities[0], kind="stable")[: self._top_k]
        return Prediction(
            labels=tuple(self._labels[index] for index in order),
            scores=tuple(float(probabilities[0][index]) for index in order),
            timings_ms={
                "decode": round((decoded - start) * 1000, 3),
                "preprocess": round((prepared - decoded) * 1000, 3),
                "infer": round((done - prepared) * 1000, 3),
            },
        )
