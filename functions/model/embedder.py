"""The task `embed`: it computes an image's feature vector (the input of a classifier's head), for comparing images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.artifact.manifest import FEATURES
from eaves.events import IMAGE_EMBEDDED
from eaves.inference import json_values
from functions.model.pipeline import ImagePipeline
from functions.model.predictor import Array


class Embedder(ImagePipeline):
    """Predictor of an image's feature vector, not normalised: divide it by its length for the cosine similarity."""

    reply_type = IMAGE_EMBEDDED

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        vector = json_values.numbers(outputs[FEATURES])
        return {"embedding": vector, "dimensions": len(vector)}, {}
