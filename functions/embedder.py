"""The task `embed`: from an image to the vector that a classifier's head would see of it, for comparing images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.artifact.manifest import FEATURES
from eaves.events import IMAGE_EMBEDDED
from functions import payload
from functions.pipeline import ImagePipeline
from functions.predictor import Array


class Embedder(ImagePipeline):
    """The feature vector as it is; whoever compares by cosine divides by its length."""

    reply_type = IMAGE_EMBEDDED

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        vector = payload.numbers(outputs[FEATURES])
        return {"embedding": vector, "dimensions": len(vector)}, {}
