"""The task `embed`: from an image to the vector that a classifier's head would see of it, for comparing images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.artifact.manifest import FEATURES
from eaves.events import IMAGE_EMBEDDED
from eaves.inference import json_values
from functions.model.pipeline import ImagePipeline
from functions.model.predictor import Array


class Embedder(ImagePipeline):
    """The feature vector as it is; whoever compares by cosine divides by its length."""

    reply_type = IMAGE_EMBEDDED

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        vector = json_values.numbers(outputs[FEATURES])
        return {"embedding": vector, "dimensions": len(vector)}, {}
