"""The task `tensor`: predicts numbers from numbers, for models that take no images, such as windows of sensor readings.

`eaves.inference.json_values` defines the form of the input.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from eaves.artifact import Artifact
from eaves.artifact.manifest import label_output
from eaves.errors import TensorError
from eaves.events import TENSOR_PREDICTED
from eaves.inference import json_values
from eaves.inference.handler import Handler
from eaves.inference.json_values import parse_tensor
from eaves.inference.session import Runner
from functions.model.pipeline import Array, Pipeline, elapsed_ms


class TensorPredictor(Pipeline):
    """Predictor of a graph's outputs by name; if the artifact has labels, also of the most probable label."""

    reply_type = TENSOR_PREDICTED
    content_types: tuple[str, ...] = ("application/json",)

    def __init__(self, artifact: Artifact, session: Runner, handler: Handler | None = None) -> None:
        super().__init__(artifact, session, handler)
        self._labels = artifact.manifest.labels
        self._scores = label_output(artifact.manifest.labels, artifact.manifest.outputs)

    def _takes(self, content_type: str) -> bool:
        return content_type == "application/json" or content_type.endswith("+json")

    def _prepare(self, data: bytes, timings_ms: dict[str, float]) -> Array:
        start = time.perf_counter()
        tensor = parse_tensor(data, self.artifact.manifest.input)
        timings_ms["decode"] = elapsed_ms(start, time.perf_counter())
        return tensor

    def _present(self, outputs: Mapping[str, Array]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        try:
            members: dict[str, Any] = {"outputs": {name: json_values.numbers(value) for name, value in outputs.items()}}
        except ValueError as error:  # such as a logarithm of a negative number: every replica would fail alike
            raise TensorError(f"the model's output for these values can't be put into a reply: {error}") from error
        if not self._scores:
            return members, {}
        label = self._labels[int(np.argmax(outputs[self._scores]))]
        return {"label": label, **members}, {"label": label}
