"""Child process that runs the original model: `python -P -m converters.reference_process FACTS`.

TensorFlow runs its own models. onnxruntime runs an ONNX file with every optimisation off, the most direct execution of
the file that is still fast enough. The steps that the conversion adds to a model's graph, such as scaling and softmax,
are computed here with NumPy, so that a fault of the graph shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.child_process import run_child_main
from converters.declaration import Interface, parse_interface
from eaves.artifact import TensorSpec
from eaves.artifact.golden import tensor_digest
from eaves.errors import ConversionError, InputError
from eaves.inference.handler import open_handler
from eaves.inference.json_values import parse_tensor
from eaves.recipe import Tensor, parse_recipe

if TYPE_CHECKING:
    from converters.tensorflow_model import OpenedModel

Call = Callable[[Tensor], Mapping[str, Tensor]]
Floats = npt.NDArray[np.float32]
SMALLEST = 1e-12
SUM_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of an image's probabilities; half precision stays below it."""
DTYPES = {  # onnxruntime's names to NumPy's types
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the model on encoded images, or on samples of numbers.

    Args:
        job: Job of `write_reference_outputs` or of `write_tensor_outputs`.

    Raises:
        ConversionError: The model can't be opened, or can't take an example.
    """
    if "samples" in job:
        write_tensor_outputs(job, _open_onnx(job)[1])
    elif job["route"] == "onnx":
        kind, call = _open_onnx(job)
        write_reference_outputs(job, DTYPES[kind], call)  # the adapter has refused every other type
    else:
        opened = _open_tensorflow(job)  # the model needs a name, because its variables live only as long as it does
        write_reference_outputs(job, opened.dtype, opened.call)
    return {}


def _open_tensorflow(job: Mapping[str, Any]) -> OpenedModel:
    import tensorflow as tf

    from converters.tensorflow_model import open_model

    # The outputs are stored in the artifact, which must not depend on the number of CPUs.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return open_model(job)


def _open_onnx(job: Mapping[str, Any]) -> tuple[str, Call]:
    from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # as in `_open_tensorflow`
    try:
        session = InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
        raise ConversionError(f"onnxruntime can't load the original file: {str(error)[:300]}") from error
    taken = session.get_inputs()[0]  # several inputs were refused before
    names = [output.name for output in session.get_outputs()]
    return taken.type, lambda batch: dict(zip(names, session.run(names, {taken.name: batch}), strict=True))


def write_reference_outputs(job: Mapping[str, Any], dtype: Any, call: Call) -> None:
    """Run the model on every image and write its outputs.

    Args:
        job: Result of `ModelSource.job` with `images` and `output`, the .npz file to write.
        dtype: NumPy type of the model's input.
        call: Function from a batch of one to the model's outputs by name.

    Raises:
        ConversionError: The outputs are not as declared.
    """
    recipe, interface = parse_recipe(job["recipe"]), parse_interface(job["interface"])
    spec = TensorSpec(name="image", dtype="uint8", shape=(-1, recipe.height, recipe.width, 3))
    own = _open_preprocess(job["handler"], spec) if job["handler"] else None
    logits, probabilities, features, digests, tensors = [], [], [], [], []
    for path in job["images"]:
        try:
            tensor = (own or recipe.tensor)(Path(path).read_bytes())
        except InputError as error:
            raise ConversionError(f"{path}: {error.message}", hint="remove the file from the samples") from error
        answered = call(build_input(tensor, interface, dtype))
        one, other = read_outputs(answered, interface)
        if interface.features:
            features.append(answered[interface.features][0].ravel())
        logits.append(one)
        probabilities.append(other)
        digests.append(tensor_digest(tensor))
        if own:
            tensors.append(tensor)
    if job["route"] != "run":
        check_declared(np.asarray(logits), np.asarray(probabilities), interface, answered)
    np.savez(
        job["output"],
        logits=np.asarray(logits, dtype=np.float32),
        probabilities=np.asarray(probabilities, dtype=np.float32),
        features=np.asarray(features, dtype=np.float32),
        tensor_sha256=np.asarray(digests),
        tensors=np.asarray(tensors),
    )


def write_tensor_outputs(job: Mapping[str, Any], call: Call) -> None:
    """Write arrays for each sample: the input tensor under the sample's number, each output under `NUMBER/NAME`.

    Args:
        job: Dict with `samples`, `input`, `handler`, and `output`, the .npz file to write.
        call: Function from a batch of one to the model's outputs by name.

    Raises:
        ConversionError: A sample can't be read, or the model can't take it.
    """
    spec = TensorSpec(name=job["input"]["name"], dtype=job["input"]["dtype"], shape=tuple(job["input"]["shape"]))
    own = _open_preprocess(job["handler"], spec) if job["handler"] else None
    prepare = own or partial(parse_tensor, spec=spec)
    stored: dict[str, Any] = {}
    for number, path in enumerate(job["samples"]):
        try:
            tensor = prepare(Path(path).read_bytes())
        except InputError as error:
            raise ConversionError(f"{path}: {error.message}", hint="remove the file from the samples") from error
        try:
            outputs = call(tensor[np.newaxis])
        except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
            raise ConversionError(f"{path}: the model can't process this sample: {str(error)[:300]}") from error
        stored[str(number)] = tensor
        stored |= {f"{number}/{name}": output for name, output in outputs.items()}
    with open(job["output"], "wb") as stream:  # noqa: PTH123 - by name, savez would take names of outputs for its own
        np.savez(stream, **stored)


def _open_preprocess(path: str, spec: TensorSpec) -> Callable[[bytes], Tensor] | None:
    """Return the function of the user's handler that makes the graph's input; None if the handler has none."""
    return open_handler(Path(path).read_bytes(), Path(path), spec).preprocess


def build_input(tensor: Tensor, interface: Interface, dtype: Any) -> Tensor:
    """Convert one example to the model's own input.

    Args:
        tensor: (H, W, 3) uint8, RGB.
        interface: Input and outputs of the model.
        dtype: NumPy type of the model's input.

    Returns:
        batch: (1, H, W, 3) or (1, 3, H, W), `dtype`.
    """
    if interface.channels == "BGR":
        tensor = tensor[:, :, ::-1]
    if np.dtype(dtype) != np.uint8:
        factor, offset = np.asarray(interface.multiply, np.float32), np.asarray(interface.add, np.float32)
        tensor = (tensor.astype(np.float32) * factor + offset).astype(dtype)
    if interface.layout == "NCHW":
        tensor = np.moveaxis(tensor, 2, 0)
    return np.ascontiguousarray(tensor[np.newaxis])


def read_outputs(answer: Mapping[str, Tensor], interface: Interface) -> tuple[Floats, Floats]:
    """Return the logits and probabilities of a batch of one, each (labels,) float32.

    A single probability is that of the second of two labels.
    """
    logits_name, probabilities_name = interface.pick_outputs(answer)
    probabilities = None
    if probabilities_name is not None:
        probabilities = answer[probabilities_name][0].astype(np.float32)
        if len(probabilities) == 1:
            probabilities = np.concatenate([np.float32(1) - probabilities, probabilities])
    if logits_name is None:
        probabilities = np.asarray(probabilities)
        return np.log(np.clip(probabilities, np.float32(SMALLEST), None)), probabilities
    logits = answer[logits_name][0].astype(np.float32)
    if probabilities is not None:
        return logits, probabilities
    powers = np.exp(logits.astype(np.float64) - np.max(logits))
    return logits, (powers / np.sum(powers)).astype(np.float32)


def check_declared(logits: Floats, probabilities: Floats, interface: Interface, names: Collection[str]) -> None:
    """Check that the outputs for the samples look like what they are declared as.

    Args:
        logits: (N, labels); those of the model, if it has any.
        probabilities: (N, labels); those of the model, if it has any.
        interface: Input and outputs of the model.
        names: Names of the model's outputs.

    Raises:
        ConversionError: Probabilities don't sum to 1, or logits do; the hint names the line of the declaration.
    """
    logits_name, probabilities_name = interface.pick_outputs(names)
    named = bool(interface.logits or interface.probabilities)
    if probabilities_name is not None:
        sums, low, high = probabilities.sum(axis=1), np.min(probabilities), np.max(probabilities)
        if low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers lie "
                f"between {low:.3g} and {high:.3g}",
                hint=f"declare {_line('logits', probabilities_name, named=named)} instead of "
                f"{_line('probabilities', probabilities_name, named=named)} if they are logits",
            )
        if np.any(np.abs(sums - 1) > SUM_TOLERANCE):
            raise ConversionError(
                f"the output {probabilities_name} is declared as probabilities, but on the samples its numbers sum to "
                f"{np.min(sums):.3f} to {np.max(sums):.3f} and not to 1: several labels may hold for one image, as "
                "with a sigmoid for each label, and Eaves predicts one label",
                hint="end the model in a softmax and train it with one label for each image; if the numbers are "
                f"logits, declare {_line('logits', probabilities_name, named=named)} instead of "
                f"{_line('probabilities', probabilities_name, named=named)}",
            )
    if logits_name is not None and np.min(logits) >= 0 and np.all(np.abs(logits.sum(axis=1) - 1) <= SUM_TOLERANCE):
        raise ConversionError(
            f"the output {logits_name} is declared as logits, but on all {len(logits)} samples its numbers are at "
            "least 0 and sum to 1, so they are probabilities",
            hint=f"declare {_line('probabilities', logits_name, named=named)} instead of "
            f"{_line('logits', logits_name, named=named)}",
        )


def _line(content: str, name: str, *, named: bool) -> str:
    """Return the line of a declaration that states an output's content."""
    return f"`{content}: {name}`" if named else f"`output_is: {content}`"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_child_main(work)
