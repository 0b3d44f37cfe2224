"""What an ONNX file answers as it came: `python -P -m converters.proof.reference_onnx FACTS`, a child process.

onnxruntime with every optimisation off: the plainest reading of the file that is still fast enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.child_process import run_child_main
from converters.proof.reference_runner import write_reference_outputs
from eaves.artifact import TensorSpec
from eaves.errors import ConversionError, InputError
from eaves.inference.handler import open_handler
from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from functions.model.tensor_predictor import parse_tensor

Tensor = npt.NDArray[Any]
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the file over encoded images, or over samples of numbers.

    Args:
        job: As `witness.testify` takes it, or with `samples`, `input`, `handler` and `output`.

    Raises:
        ConversionError: When onnxruntime refuses the file.
    """
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = (
        1  # its answers are in the artifact, which must not depend on how many CPUs there are
    )
    try:
        session = InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, which share no public root
        raise ConversionError(f"onnxruntime can't load the original file: {str(error)[:300]}") from error
    taken = session.get_inputs()[0]  # `adapter` has refused what isn't one input of a known type
    names = [output.name for output in session.get_outputs()]
    if "samples" in job:
        _answer_numbers(job, lambda batch: dict(zip(names, session.run(names, {taken.name: batch}), strict=True)))
        return {}
    write_reference_outputs(
        job,
        DTYPES[taken.type],
        lambda batch: dict(zip(names, session.run(names, {taken.name: batch}), strict=True)),
    )
    return {}


def _answer_numbers(job: Mapping[str, Any], call: Callable[[Tensor], Mapping[str, Tensor]]) -> None:
    """Write each sample as the model takes it, called by its number, and its outputs, `NUMBER/NAME`."""
    spec = TensorSpec(name=job["input"]["name"], dtype=job["input"]["dtype"], shape=tuple(job["input"]["shape"]))
    own = Path(job["handler"]) if job["handler"] else None
    prepare = (own and open_handler(own.read_bytes(), own, spec).preprocess) or partial(parse_tensor, spec=spec)
    stored: dict[str, Any] = {}
    for number, path in enumerate(job["samples"]):
        try:
            tensor = prepare(Path(path).read_bytes())
        except InputError as error:
            raise ConversionError(f"{path}: {error.message}", hint="remove it from the samples") from error
        try:
            outputs = call(tensor[np.newaxis])
        except Exception as error:  # onnxruntime raises its own kinds, which share no public root
            raise ConversionError(f"{path}: the model can't take it: {str(error)[:300]}") from error
        stored[str(number)] = tensor
        stored |= {f"{number}/{name}": output for name, output in outputs.items()}
    with open(job["output"], "wb") as stream:  # noqa: PTH123 - by name, savez would take names of outputs for its own
        np.savez(stream, **stored)


if __name__ == "__main__":
    run_child_main(work)
