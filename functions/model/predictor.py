"""What answers: the contract between a task (`classify`, `embed`, `tensor`) and the HTTP side, which knows no task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from eaves.artifact import Artifact, TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one example.

    Attributes:
        payload: JSON members of the reply's data that the task makes, such as `predictions`.
        attributes: Extension attributes of the reply that people filter by; brokers can't filter on data.
        timings_ms: Milliseconds by stage: `decode`, `preprocess`, `infer`, `postprocess`, as far as there are such.
    """

    payload: Mapping[str, Any]
    attributes: Mapping[str, str]
    timings_ms: Mapping[str, float]


class Predictor(Protocol):
    """One task of one loaded artifact; safe to call from many threads at once.

    Attributes:
        artifact: What is served.
        reply_type: Event type of a reply.
        content_types: What `accepts` takes, for people.
        input: One batch of examples as a tensor: `image`, uint8 (n, H, W, 3) of any size, or the graph's own input.
        outputs: What `run` answers, in this order.
    """

    artifact: Artifact
    reply_type: str
    content_types: tuple[str, ...]
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    def accepts(self, content_type: str) -> bool:
        """Whether data of this media type (lower case, without parameters) can be predicted."""

    def predict(self, data: bytes) -> Prediction:
        """Answer one example as it was sent.

        Raises:
            InputError: What was sent is to blame.
            HandlerError: The artifact's handler.py is.
        """

    def run(self, example: bytes | Array) -> Mapping[str, Array]:
        """The graph's outputs of one example, for clients that speak in tensors.

        Args:
            example: Encoded bytes as `predict` takes them, or one example of `input`, without the batch dimension.

        Returns:
            outputs: By name, without the batch dimension; more than the graph's where the task names some.

        Raises:
            InputError: As `predict`.
            HandlerError: As `predict`.
        """
