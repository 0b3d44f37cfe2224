"""A model asked as it is: NumPy does here what the converted graph does by itself, so that a fault there shows.

Both oracles' child processes use it; nothing here knows a framework or ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.source.model_interface import Interface, parse_interface
from eaves.artifact import TensorSpec
from eaves.artifact.golden import tensor_digest
from eaves.errors import ConversionError, InputError
from eaves.inference.handler import open_handler
from eaves.recipe import Recipe, Tensor, parse_recipe

Call = Callable[[Tensor], Mapping[str, Tensor]]
Floats = npt.NDArray[np.float32]
SMALLEST = 1e-12


def write_reference_outputs(job: Mapping[str, Any], dtype: Any, call: Call) -> None:
    """Ask for every image and write the answers.

    Args:
        job: As `ModelSource.job` gives it, with `images` and `output`, the .npz file to write.
        dtype: NumPy's, of the model's input.
        call: A batch of one to the model's outputs by name.

    Raises:
        ConversionError: When the outputs are not as declared.
    """
    recipe, interface = parse_recipe(job["recipe"]), parse_interface(job["interface"])
    own = _open_preprocess(job["handler"], recipe) if job["handler"] else None
    logits, probabilities, features, digests, tensors = [], [], [], [], []
    for path in job["images"]:
        try:
            tensor = (own or recipe.tensor)(Path(path).read_bytes())
        except InputError as error:
            raise ConversionError(f"{path}: {error.message}", hint="remove it from the samples") from error
        answered = call(build_input(tensor, interface, dtype))
        one, other = read_outputs(answered, interface)
        if interface.features:
            features.append(answered[interface.features][0].ravel())
        logits.append(one)
        probabilities.append(other)
        digests.append(tensor_digest(tensor))
        if own:
            tensors.append(tensor)
    np.savez(
        job["output"],
        logits=np.asarray(logits, dtype=np.float32),
        probabilities=np.asarray(probabilities, dtype=np.float32),
        features=np.asarray(features, dtype=np.float32),
        tensor_sha256=np.asarray(digests),
        tensors=np.asarray(tensors),
    )


def _open_preprocess(path: str, recipe: Recipe) -> Callable[[bytes], Tensor] | None:
    """The user's own way to the input that the converted graph takes; None where its handler has none."""
    spec = TensorSpec(name="image", dtype="uint8", shape=(-1, recipe.height, recipe.width, 3))
    return open_handler(Path(path).read_bytes(), Path(path), spec).preprocess


def build_input(tensor: Tensor, interface: Interface, dtype: Any) -> Tensor:
    """One example to the model's own input.

    Args:
        tensor: (H, W, 3) uint8, RGB.
        interface: How the model is fed.
        dtype: Of its input.

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
    """The logits and probabilities, each (labels,) float32, of a batch of one."""
    logits_name, probabilities_name = interface.pick_outputs(answer)
    if logits_name is None:
        probabilities = answer[str(probabilities_name)][0].astype(np.float32)
        return np.log(np.clip(probabilities, np.float32(SMALLEST), None)), probabilities
    logits = answer[logits_name][0].astype(np.float32)
    if probabilities_name is not None:
        return logits, answer[probabilities_name][0].astype(np.float32)
    powers = np.exp(logits.astype(np.float64) - np.max(logits))
    return logits, (powers / np.sum(powers)).astype(np.float32)
