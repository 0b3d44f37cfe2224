"""From an image's bytes to labels with scores, with the time each stage took."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves import images
from eaves.artifact import Artifact
from functions.handler import Handler
from functions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        labels: Best first.
        scores: Probability of each, 0..1.
        timings_ms: Milliseconds by stage: `decode` (unless a handler does it), `preprocess`, `infer`.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    timings_ms: Mapping[str, float]


class Classifier:
    """Recipe or handler, session and labels of one artifact; safe to call from many threads."""

    def __init__(
        self,
        artifact: Artifact,
        session: Session,
        *,
        top_k: int,
        handler: Handler | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        self.artifact = artifact
        self._session = session
        self._recipe = artifact.manifest.recipe
        self._labels = artifact.manifest.labels
        self._handler = handler
        self._top_k = min(top_k, len(self._labels))
        self._max_pixels = max_pixels
        self._large = threading.Lock()  # large frames take turns: in memory there is one, whatever the concurrency

    def predict(self, data: bytes) -> Prediction:
        """Classify one encoded image.

        Raises:
            ImageError: When it can't be decoded or is too large.
            HandlerError: When the artifact's handler fails.
        """
        tensor, timings_ms = self._prepare(data)
        start = time.perf_counter()
        _, probabilities = self._session.run(tensor[np.newaxis])
        timings_ms["infer"] = _elapsed_ms(start, time.perf_counter())
        order = np.argsort(-probabilities[0], kind="stable")[: self._top_k]
        return Prediction(
            labels=tuple(self._labels[index] for index in order),
            scores=tuple(float(probabilities[0][index]) for index in order),
            timings_ms=timings_ms,
        )

    def _prepare(self, data: bytes) -> tuple[npt.NDArray[Any], dict[str, float]]:
        """One example in the graph's dtype, and what each stage took."""
        start = time.perf_counter()
        if self._handler is not None:  # it decodes too
            tensor = self._handler.preprocess(data)
            return tensor, {"preprocess": _elapsed_ms(start, time.perf_counter())}
        image = images.load(
            data,
            at_least=(self._recipe.height, self._recipe.width),
            max_pixels=self._max_pixels,
            large=self._large,
        )
        decoded = time.perf_counter()
        tensor = self._recipe.prepare(image)
        prepared = time.perf_counter()
        return tensor, {"decode": _elapsed_ms(start, decoded), "preprocess": _elapsed_ms(decoded, prepared)}


def _elapsed_ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
