"""The Protocol between a task (`classify`, `embed`, `tensor`) and the HTTP code, which knows no task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from eaves.artifact import Artifact, TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's prediction for one example.

    Attributes:
        payload: JSON members of the reply's data that the task makes, such as `predictions`.
        attributes: Extension attributes of the reply for filters; brokers can't filter on data.
        timings_ms: Milliseconds by stage: `decode`, `preprocess`, `infer`, `postprocess`; only stages that ran.
    """

    payload: Mapping[str, Any]
    attributes: Mapping[str, str]
    timings_ms: Mapping[str, float]


class Predictor(Protocol):
    """One task of one loaded artifact; safe to call from many threads at once.

    Attributes:
        artifact: The served artifact.
        reply_type: Event type of a reply.
        content_types: Media types that `accepts` accepts, for people.
        input: One batch of examples as a tensor: `image`, uint8 (n, H, W, 3) of any size, or the graph's own input.
        outputs: Outputs of `run`, in this order.
    """

    artifact: Artifact
    reply_type: str
    content_types: tuple[str, ...]
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    def accepts(self, content_type: str) -> bool:
        """Return whether data of this media type (lower case, without parameters) can be predicted."""

    def predict(self, data: bytes) -> Prediction:
        """Predict one example from the bytes that were sent.

        Raises:
            InputError: When the sent data are at fault.
            HandlerError: When the artifact's handler.py is at fault.
        """

    def run(self, example: bytes | Array) -> Mapping[str, Array]:
        """Return the graph's outputs for one example, for clients that use tensors.

        Args:
            example: Encoded bytes as for `predict`, or one example of `input`, without the batch dimension.

        Returns:
            Outputs by name, without the batch dimension; some tasks add outputs to the graph's.

        Raises:
            InputError: When the sent data are at fault.
            HandlerError: When the artifact's handler.py is at fault.
        """
