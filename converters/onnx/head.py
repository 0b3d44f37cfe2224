"""Replaces the head of an artifact's graph whose backbone was frozen, so that an update ships little but a head."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from converters.onnx.graph import BACKBONE, HEAD, WEIGHTS, is_head, write_part
from eaves.artifact import Artifact
from eaves.artifact.manifest import OUTPUTS
from eaves.artifact.store import MODEL
from eaves.errors import ConversionError


def replace_head(base: Artifact, staging: Path, weights: Sequence[npt.NDArray[Any]]) -> None:
    """Write the graph of an artifact with other weights of its head, and the weights of both.

    The file of the backbone stays as it is, and with as many classes the graph, too.

    Args:
        base: Artifact with the backbone; it is not changed.
        staging: Folder that becomes the artifact.
        weights: The weights of the head in the order in which the graph uses them; the last axis of those of classes
            may have another size than in `base`.

    Raises:
        ConversionError: The artifact has no head of its own, or one with other weights.
    """
    model = onnx.load(str(base.model_path), load_external_data=False)
    tensors = [one for one in model.graph.initializer if is_head(one.name) and one.data_type == TensorProto.FLOAT]
    if len(tensors) != len(weights):
        raise ConversionError(
            f"the head of {base.path} can't be replaced: it has {len(tensors)} tensors, and not {len(weights)}",
            hint="use the artifact of a run whose train.mode is frozen or sums, converted by this version of Eaves",
        )
    for tensor, value in zip(tensors, weights, strict=True):
        rows = math.prod(tensor.dims[:-1])
        if value.size != rows * value.shape[-1]:
            raise ConversionError(f"{base.path} has weights {list(tensor.dims)} in its head, and not {value.shape}")
        changed = value.astype("float32").reshape(*tensor.dims[:-1], value.shape[-1])
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    for output in model.graph.output:
        if output.name in OUTPUTS:
            output.type.tensor_type.shape.dim[-1].dim_value = weights[-1].shape[-1]
    (staging / WEIGHTS).mkdir()
    shutil.copyfile(base.path / WEIGHTS / BACKBONE, staging / WEIGHTS / BACKBONE)
    write_part([*model.graph.initializer], staging, f"{WEIGHTS}/{HEAD}", is_head)
    (staging / MODEL).write_bytes(model.SerializeToString(deterministic=True))
