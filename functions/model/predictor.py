"""The interface between a task (`classify`, `embed`, `tensor`) and the HTTP code, which is the same for all tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from eaves.artifact import Artifact, TensorSpec

Array = npt.NDArray[Any]
Turn = Callable[[], AbstractContextManager[None]]
"""Function whose context manager waits for a turn to run the model, and holds it until the end of the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's prediction for one example.

    Attributes:
        payload: Members of the reply's JSON that depend on the task, such as `predictions`.
        attributes: Extension attributes of the reply that triggers can filter by; brokers can't filter by the reply's
            data.
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
        content_types: Media types that are accepted, such as `image/*`, for messages to people.
        input: Type and shape of a batch as tensor: `image`, uint8 (n, H, W, 3) of any size, or the graph's own input.
        outputs: Types and shapes of the outputs of `run`, in this order.
    """

    artifact: Artifact
    reply_type: str
    content_types: tuple[str, ...]
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    def accepts(self, content_type: str) -> bool:
        """Return whether data of this media type (lower case, without parameters) can be predicted."""

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Predict one example from the bytes that were sent.

        Args:
            data: The sent bytes.
            turn: Waits for a turn to run the model. A handler.py is called within the turn too, as it may not expect
                more calls at a time than there are turns.

        Raises:
            InputError: When the sent data are invalid.
            HandlerError: When the artifact's handler.py fails.
        """

    def run(self, example: bytes | Array, *, turn: Turn = nullcontext) -> Mapping[str, Array]:
        """Return the graph's outputs for one example, for clients that use tensors.

        Args:
            example: Encoded bytes as for `predict`, or one example that fits `input`, without the batch dimension.
            turn: Waits for a turn to run the model, see `predict`.

        Returns:
            Outputs by name, without the batch dimension; some tasks add outputs to the graph's.

        Raises:
            InputError: When the sent data are invalid.
            HandlerError: When the artifact's handler.py fails.
        """
