"""Child process that runs the original model: `python -P -m converters.reference_process`.

It exports a TensorFlow model to ONNX first, because the import of TensorFlow takes longer than most models do.
TensorFlow runs its own models. onnxruntime runs an ONNX file with every optimisation off, the most direct execution of
the file that is still fast enough. The steps that the conversion adds to a model's graph, such as scaling and softmax,
are computed here with NumPy, so that a fault of the graph shows.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.declaration import Interface
from eaves.artifact import TensorSpec
from eaves.artifact.golden import tensor_digest
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.errors import ConversionError, InputError
from eaves.inference.child_process import run_child_main
from eaves.inference.handler import open_handler
from eaves.inference.json_values import parse_tensor
from eaves.recipe import Tensor, parse_recipe
from trainer.tensorflow_notices import GARBAGE_OBJECTS, import_tensorflow

Call = Callable[[Tensor], Mapping[str, Tensor]]
DTYPES = {  # onnxruntime's names to NumPy's types
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def work(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Export a TensorFlow model, run the model on every sample, and write its inputs and outputs; each is a result.

    The arrays are `tensor_sha256`, the digest of each input tensor; `NUMBER`, a sample's input tensor unless the recipe
    makes it; and `NUMBER/NAME`, a sample's output, of a batch of one.

    Args:
        job: Result of `ModelSource.job` with `samples`, `output`, the .npz file to write, and what
            `export_tensorflow` needs.

    Raises:
        ConversionError: The model can't be opened or exported, or a sample can't be read or processed.
    """
    if job["route"] == "onnx":
        kind, call = _open_onnx(job)
        dtype = DTYPES.get(kind)  # the adapter has refused every other type for images
    else:
        dtype, call = _export_saved_model(job)
        yield {}
    interface = None if job["input"] else Interface(**job["interface"])
    prepare, is_own = _open_preprocess(job)
    stored: dict[str, Any] = {}
    digests = []
    for number, path in enumerate(job["samples"]):
        try:
            tensor = prepare(Path(path).read_bytes())
        except InputError as error:
            raise ConversionError(f"{path}: {error.message}", hint="remove the file from the samples") from error
        batch = tensor[np.newaxis] if interface is None else build_input(tensor, interface, dtype)
        try:
            outputs = call(batch)
        except Exception as error:  # onnxruntime and TensorFlow raise their own exceptions without a common base class
            raise ConversionError(f"{path}: the model can't process this sample: {str(error)[:300]}") from error
        if interface is not None:
            names = (*interface.pick_outputs(outputs), interface.features, *job["further"])
            outputs = {name: outputs[name] for name in names if name}
        digests.append(tensor_digest(tensor))
        if is_own:
            stored[str(number)] = tensor
        stored |= {f"{number}/{name}": output for name, output in outputs.items()}
    with open(job["output"], "wb") as stream:  # noqa: PTH123 - by name, savez would take names of outputs for its own
        np.savez(stream, tensor_sha256=np.asarray(digests), **stored)
    yield {}


def _open_preprocess(job: Mapping[str, Any]) -> tuple[Callable[[bytes], Tensor], bool]:
    """Return the function that makes the graph's input of a sample, and whether it is another one than the recipe."""
    if job["input"]:
        spec = TensorSpec(**job["input"] | {"shape": tuple(job["input"]["shape"])})
        made: Callable[[bytes], Tensor] = partial(parse_tensor, spec=spec)
    else:
        recipe = parse_recipe(job["recipe"])
        spec = TensorSpec(name="image", dtype="uint8", shape=(-1, recipe.height, recipe.width, 3))
        made = recipe.tensor
    path = job["handler"]
    own = open_handler(Path(path).read_bytes(), Path(path), spec).preprocess if path else None
    return own or made, own is not None or bool(job["input"])


def _export_saved_model(job: Mapping[str, Any]) -> tuple[Any, Call]:
    import_tensorflow()
    import tensorflow as tf

    from converters.tensorflow_export import export_tensorflow

    # The outputs are stored in the artifact, which must not depend on the number of CPUs.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    function, loaded = export_tensorflow(job)
    ((name, spec),) = function.structured_input_signature[1].items()

    def call(batch: Tensor, _: Any = loaded) -> Mapping[str, Tensor]:
        return {key: tensor.numpy() for key, tensor in function(**{name: tf.constant(batch)}).items()}

    return spec.dtype.as_numpy_dtype, call


def _open_onnx(job: Mapping[str, Any]) -> tuple[str, Call]:
    from converters.onnx.graph import open_session

    try:
        session = open_session(Path(job["model"]), "DISABLE_ALL")
    except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
        raise ConversionError(f"onnxruntime can't load the original file: {str(error)[:300]}") from error
    taken = session.get_inputs()[0]  # several inputs were refused before
    names = [output.name for output in session.get_outputs()]
    return taken.type, lambda batch: dict(zip(names, session.run(names, {taken.name: batch}), strict=True))


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


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.update(TELEMETRY_OFF)  # tf2onnx imports onnxruntime for some graphs
    gc.set_threshold(GARBAGE_OBJECTS)
    run_child_main(work)
