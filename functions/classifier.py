"""The task `classify`: from an image's bytes to labels with scores, with the time each stage took."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from eaves import images
from eaves.artifact import Artifact, TensorSpec
from eaves.events import IMAGE_CLASSIFIED
from functions.handler import Handler
from functions.predictor import Array, Prediction
from functions.session import OUTPUTS, Session
from functions.settings import ServeSettings


class Classifier:
    """Recipe or handler, session and labels of one artifact; safe to call from many threads."""

    reply_type = IMAGE_CLASSIFIED
    content_types: tuple[str, ...] = ("image/*",)
    input = TensorSpec(name="image", dtype="uint8", shape=(-1, -1, -1, 3))

    def __init__(
        self, artifact: Artifact, session: Session, settings: ServeSettings, *, handler: Handler | None = None
    ) -> None:
        self.artifact = artifact
        width = len(artifact.manifest.labels)
        self.outputs = (
            TensorSpec(name="label", dtype="object", shape=(-1,)),
            *(TensorSpec(name=name, shape=(-1, width)) for name in reversed(OUTPUTS)),
        )
        self._session = session
        self._recipe = artifact.manifest.recipe
        self._labels = artifact.manifest.labels
        self._handler = handler
        self._top_k = min(settings.top_k, width)
        self._high_confidence = settings.high_confidence

    def accepts(self, content_type: str) -> bool:
        """Any picture; which of them can be decoded, the bytes tell."""
        return content_type.startswith("image/")

    def predict(self, data: bytes) -> Prediction:
        """Classify one encoded image.

        Raises:
            ImageError: When it can't be decoded or is too large.
            HandlerError: When the artifact's handler fails.
        """
        tensor, timings_ms = self._prepare(data)
        start = time.perf_counter()
        _, (probabilities,) = self._session.run(tensor[np.newaxis])
        timings_ms["infer"] = _elapsed_ms(start, time.perf_counter())
        order = np.argsort(-probabilities, kind="stable")[: self._top_k]
        scored = [(self._labels[index], round(float(probabilities[index]), 6)) for index in order]
        label, score = scored[0]
        return Prediction(
            payload={"predictions": [{"label": label, "score": score} for label, score in scored]},
            attributes={"label": label, "confidence": "high" if score >= self._high_confidence else "low"},
            timings_ms=timings_ms,
        )

    def run(self, example: bytes | Array) -> Mapping[str, Array]:
        """Label, probabilities and logits of one image: encoded, or (H, W, 3) uint8, RGB."""
        tensor = self._prepare(example)[0] if isinstance(example, bytes) else self._recipe.apply(example)
        (logits,), (probabilities,) = self._session.run(tensor[np.newaxis])
        label = self._labels[int(np.argmax(probabilities))]
        return {"label": np.array(label, object), "logits": logits, "probabilities": probabilities}

    def _prepare(self, data: bytes) -> tuple[Array, dict[str, float]]:
        """One example in the graph's dtype, and what each stage took."""
        start = time.perf_counter()
        if self._handler is not None:  # it decodes too
            tensor = self._handler.preprocess(data)
            return tensor, {"preprocess": _elapsed_ms(start, time.perf_counter())}
        pixels = images.decode(data, at_least=(self._recipe.height, self._recipe.width))
        decoded = time.perf_counter()
        tensor = self._recipe.apply(pixels)
        prepared = time.perf_counter()
        return tensor, {"decode": _elapsed_ms(start, decoded), "preprocess": _elapsed_ms(decoded, prepared)}


def _elapsed_ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
