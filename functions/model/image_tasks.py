"""The tasks of models that take images: `classify` predicts labels with scores, `embed` computes a feature vector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from eaves.artifact import Artifact, TensorSpec
from eaves.artifact.manifest import FEATURES
from eaves.events import IMAGE_CLASSIFIED, IMAGE_EMBEDDED
from eaves.inference import json_values
from eaves.inference.handler import Handler
from eaves.inference.session import OUTPUTS, Runner
from functions.model.pipeline import Array, ImagePipeline, Turn
from functions.settings import ServeSettings


class Classifier(ImagePipeline):
    """Predictor of an image's labels, in the order of the artifact's decision rule: the first one is the image's label.

    The score of a label is the calibrated probability from the graph; a later label may have a higher score.
    """

    reply_type = IMAGE_CLASSIFIED

    def __init__(
        self, artifact: Artifact, session: Runner, settings: ServeSettings, *, handler: Handler | None = None
    ) -> None:
        super().__init__(artifact, session, settings, handler=handler)
        self._labels = artifact.manifest.labels
        self._decision = artifact.manifest.decision
        width = len(self._labels)
        self.outputs = (
            TensorSpec(name="label", dtype="object", shape=(-1,)),
            *(TensorSpec(name=name, shape=(-1, width)) for name in reversed(OUTPUTS)),
        )
        self._top_k = min(settings.top_k, width)
        self._threshold = settings.threshold
        self._high_confidence = settings.high_confidence

    def run(self, example: bytes | Array, *, turn: Turn = nullcontext) -> Mapping[str, Array]:
        """Return `label`, `probabilities` and `logits` of one image, which is encoded or (H, W, 3) uint8, RGB."""
        outputs = super().run(example, turn=turn)
        label = self._labels[int(self._decision.choose(outputs["probabilities"]))]
        return {"label": np.array(label, object), **outputs}

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return the labels whose score reaches the threshold, and the reply's attributes.

        None is returned if the score of the image's label is below the threshold. The attribute `confidence` describes
        that score in any case.
        """
        probabilities = outputs["probabilities"]
        order = self._decision.rank(probabilities)[: self._top_k]
        scored = [(self._labels[index], round(float(probabilities[index]), 6)) for index in order]
        best, score = scored[0]
        attributes = {"confidence": "high" if score >= self._high_confidence else "low"}
        if score < self._threshold:
            return {"predictions": []}, attributes
        kept = [(label, score) for label, score in scored if score >= self._threshold]
        return {"predictions": [{"label": label, "score": score} for label, score in kept]}, {
            **attributes,
            "label": best,
        }


class Embedder(ImagePipeline):
    """Predictor of an image's feature vector, not normalised: divide it by its length for the cosine similarity."""

    reply_type = IMAGE_EMBEDDED

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        vector = json_values.numbers(outputs[FEATURES])
        return {"embedding": vector, "dimensions": len(vector)}, {}
