"""Runs the original model in a child process and returns its outputs, which the parity proof compares with.

`converters.proof.reference_process` is the child process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.child_process import ChildLimits, run_child
from eaves.recipe import Tensor

if TYPE_CHECKING:
    from converters.source.model_source import ModelSource
    from converters.source.tensor_source import TensorSource
    from eaves.artifact import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutputs:
    """Outputs of the original model.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        tensor_sha256: Digest of each input tensor.
        features: (N, any) float32; None if the original gives none.
        tensors: Inputs that a handler made, (N, ...); None if the recipe made them.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None
    tensors: npt.NDArray[Any] | None = None
    tensor_sha256: tuple[str, ...]


def run_reference(
    source: ModelSource, images: Sequence[Path], *, timeout_s: float, memory_limit_mb: int = 0
) -> ReferenceOutputs:
    """Run the original model on encoded images in a child process, and return its outputs.

    Raises:
        ConversionError: The original fails, takes too long or needs too much memory.
    """
    limits = ChildLimits(timeout_s=timeout_s, memory_limit_mb=memory_limit_mb)
    stored = _run({**source.job(), "images": [str(path.absolute()) for path in images]}, limits)
    return ReferenceOutputs(
        logits=stored["logits"],
        probabilities=stored["probabilities"],
        features=stored["features"] if len(stored["features"]) else None,
        tensors=stored["tensors"] if len(stored["tensors"]) else None,
        tensor_sha256=tuple(stored["tensor_sha256"].tolist()),
    )


def run_tensor_reference(
    source: TensorSource, taken: TensorSpec, given: Sequence[TensorSpec], limits: ChildLimits
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Run an original model that doesn't take images on its sample files in a child process.

    Args:
        source: The model to convert.
        taken: Input of the model.
        given: Outputs of the model.
        limits: Limits of time and memory.

    Returns:
        inputs: Input tensor of each sample, without the batch axis.
        answers: Outputs for each sample by name, of a batch of one.

    Raises:
        ConversionError: The original fails, takes too long or needs too much memory.
    """
    stored = _run(
        {
            "route": "onnx",
            "model": str(source.model.absolute()),
            "samples": [str(path.absolute()) for path in source.samples],
            "input": {"name": taken.name, "dtype": taken.dtype, "shape": taken.shape},
            "handler": str(source.handler.absolute()) if source.handler else None,
        },
        limits,
    )
    numbers = range(len(source.samples))
    return [stored[f"{number}"] for number in numbers], [
        {spec.name: stored[f"{number}/{spec.name}"] for spec in given} for number in numbers
    ]


def _run(job: Mapping[str, Any], limits: ChildLimits) -> dict[str, Tensor]:
    """Run the child process and return the arrays that it writes."""
    name = "onnxruntime" if job["route"] == "onnx" else "TensorFlow"
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        run_child(
            "converters.proof.reference_process",
            {**job, "output": str(output)},
            Path(folder) / "facts.json",
            what=f"the original model {name}, which answers the samples of the parity proof,",
            limits=limits,
        )
        with np.load(output, allow_pickle=False) as stored:
            return dict(stored)
