"""What the original answers, in a child process: the other half of the parity proof.

From encoded bytes through the recipe and the model as it came, one image at a time. TensorFlow answers for what it
wrote (`python -P -m converters.proof.reference_tensorflow FACTS`), onnxruntime without optimisations for an ONNX file
(`reference_onnx`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.child_process import ChildLimits, run_child, run_child_main

if TYPE_CHECKING:
    from converters.source.model_source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutputs:
    """The original's answers.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        tensor_sha256: Digest of each input tensor.
        features: (N, any) float32; None where the original doesn't say.
        tensors: The inputs themselves, (N, ...), where a handler made them; None where the recipe did.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None
    tensors: npt.NDArray[Any] | None = None
    tensor_sha256: tuple[str, ...]


def run_reference(
    source: ModelSource, images: Sequence[Path], *, timeout_s: float, memory_limit_mb: int = 0
) -> ReferenceOutputs:
    """Run the original over encoded images.

    Raises:
        ConversionError: When it fails, takes too long or too much memory.
    """
    onnx = source.route == "onnx"
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        run_child(
            "converters.proof.reference_onnx" if onnx else "converters.proof.reference_tensorflow",
            {**source.job(), "images": [str(path.absolute()) for path in images], "output": str(output)},
            Path(folder) / "facts.json",
            what=f"{'onnxruntime' if onnx else 'TensorFlow'}, answering for the parity proof,",
            limits=ChildLimits(timeout_s=timeout_s, memory_limit_mb=memory_limit_mb),
        )
        with np.load(output, allow_pickle=False) as stored:
            return ReferenceOutputs(
                logits=stored["logits"],
                probabilities=stored["probabilities"],
                features=stored["features"] if len(stored["features"]) else None,
                tensors=stored["tensors"] if len(stored["tensors"]) else None,
                tensor_sha256=tuple(stored["tensor_sha256"].tolist()),
            )


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """The child's work.

    Args:
        job: As `witness.testify` takes it.
    """
    import tensorflow as tf

    from converters.proof.reference_runner import write_reference_outputs
    from converters.tensorflow.tensorflow_model import open_model

    # Its answers are in the artifact, which must not depend on how many CPUs there are.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    opened = open_model(job)
    write_reference_outputs(job, opened.dtype, opened.call)
    return {}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_child_main(work)
