"""Replaces the head of an artifact's graph whose backbone was frozen, so that an update ships a head and a graph."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.onnx.graph import BACKBONE, HEAD, WEIGHTS, canonicalize, find_head, is_head, write_part
from converters.onnx.graph_rewrites import attributes
from eaves.artifact import Artifact
from eaves.artifact.manifest import CLASSIFY, LOGITS, PROBABILITIES
from eaves.artifact.store import MODEL
from eaves.errors import ConversionError
from trainer.calibration import prior_correction
from trainer.model.feature_sums import Floats, LinearHead

_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def replace_head(
    base: Artifact, staging: Path, head: LinearHead, *, temperature: float, label_weights: Sequence[float]
) -> None:
    """Write the graph of an artifact with another head, and the weights of both.

    The file of the backbone stays as it is, and with as many classes the graph, too.

    Args:
        base: Artifact with the backbone; it is not changed.
        staging: Folder that becomes the artifact.
        head: The head, (features, labels), for the features that the graph of `base` computes.
        temperature: Divisor of the logits before they become probabilities.
        label_weights: Weights of the decision rule, by which the head was fitted; empty for none.

    Raises:
        ConversionError: The artifact has no head of its own, or one of another size.
    """
    model, bias = onnx.load(str(base.model_path), load_external_data=False), prior_correction(label_weights)
    node = find_head(model.graph)
    is_plain = node is not None and node.op_type == "Gemm" and {**_PLAIN, **attributes(node)} == _PLAIN
    if base.manifest.task != CLASSIFY or not is_plain:
        raise ConversionError(
            f"the head of {base.path} can't be replaced",
            hint=f"use an artifact of the task {CLASSIFY}, of a run whose train.mode is frozen or sums",
        )
    size = next(tensor.dims[0] for tensor in model.graph.initializer if tensor.name == node.input[1])
    if size != len(head.kernel):
        raise ConversionError(f"{base.path} computes {size} features, and the head takes {len(head.kernel)}")
    shift = np.zeros(len(head.bias)) if bias is None else -temperature * bias
    weights = {
        "head/kernel": head.kernel,
        "head/bias": head.bias,
        "head/shift": shift[np.newaxis],
        "head/divisor": np.full((1, len(shift)), temperature),
    }
    _rebuild_tail(model.graph, node, {name: value.astype(np.float32) for name, value in weights.items()})
    canonicalize(model)
    _write(model, base, staging)


def replace_weights(base: Artifact, staging: Path, weights: Sequence[Floats]) -> None:
    """Write the graph of an artifact with other numbers in its head; the graph itself stays.

    Args:
        base: Artifact whose head has weights of its own; it is not changed.
        staging: Folder that becomes the artifact.
        weights: The head's weights in the order in which the graph uses them.

    Raises:
        ConversionError: The head has other weights.
    """
    model = onnx.load(str(base.model_path), load_external_data=False)
    tensors = [one for one in model.graph.initializer if is_head(one.name) and one.data_type == onnx.TensorProto.FLOAT]
    sizes = [math.prod(one.dims) for one in tensors]
    if sizes != [value.size for value in weights]:
        raise ConversionError(
            f"the head of {base.path} has weights of the sizes {sizes}, not {[value.size for value in weights]}",
            hint="convert the run again",
        )
    for tensor, value in zip(tensors, weights, strict=True):
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32).reshape(tensor.dims), tensor.name))
    _write(model, base, staging)


def _write(model: onnx.ModelProto, base: Artifact, staging: Path) -> None:
    (staging / WEIGHTS).mkdir()
    shutil.copyfile(base.path / WEIGHTS / BACKBONE, staging / WEIGHTS / BACKBONE)
    write_part([*model.graph.initializer], staging, f"{WEIGHTS}/{HEAD}", is_head)
    (staging / MODEL).write_bytes(model.SerializeToString(deterministic=True))


def _rebuild_tail(graph: onnx.GraphProto, head: onnx.NodeProto, weights: dict[str, Any]) -> None:
    """Replace everything behind the features by a head and its scores: softmax((logits - shift) / divisor)."""
    behind = {*head.output}
    for node in graph.node:  # each is after those whose outputs it reads
        behind.update(node.output if behind.intersection(node.input) else ())
    kept = [node for node in graph.node if not behind.intersection(node.output)]
    head.input[:], head.output[:] = [head.input[0], "head/kernel", "head/bias"], ["head/logits"]
    tail = [
        head,
        helper.make_node("Identity", ["head/logits"], [LOGITS]),
        helper.make_node("Sub", ["head/logits", "head/shift"], ["head/shifted"]),
        helper.make_node("Div", ["head/shifted", "head/divisor"], ["head/scaled"]),
        helper.make_node("Softmax", ["head/scaled"], [PROBABILITIES], axis=-1),
    ]
    changed = onnx.GraphProto(
        node=[*kept, *tail], initializer=[one for one in graph.initializer if not is_head(one.name)]
    )
    changed.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    for name in ("node", "initializer"):
        graph.ClearField(name)
    graph.MergeFrom(changed)
    for output in graph.output:
        output.type.tensor_type.shape.dim[-1].dim_value = len(weights["head/bias"])
