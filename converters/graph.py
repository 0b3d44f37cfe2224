"""The exported graph made ready: stable names, and its weights in files split where training froze them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

from eaves.artifact import TensorSpec
from eaves.errors import ConversionError

BACKBONE = "weights/backbone.bin"
HEAD = "weights/head.bin"
INLINE_BYTES = 1024
"""Smaller tensors (shapes, axes, scalars) stay in the graph: optimisers read them. A split head's weights never do."""
ALIGN_BYTES = 4096
"""Offsets on page boundaries let onnxruntime map large tensors instead of copying them.

Source: onnx/docs/ExternalData.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What the manifest says of a written graph."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


def write_graph(exported: Path, model: Path, *, split: bool) -> Graph:
    """Rename what a counter named, move the weights out, write the graph.

    Args:
        exported: What tf2onnx wrote.
        model: `model.onnx` to write; weights go to `weights/` beside it.
        split: Two files, frozen backbone and trained head, or all in the backbone's.

    Raises:
        ConversionError: When the graph isn't a classifier's.
    """
    try:
        proto = onnx.load(str(exported))
    except Exception as error:  # protobuf raises its own kinds, and the file may be gone
        raise ConversionError(f"what tf2onnx wrote can't be read: {error}") from error
    graph = proto.graph
    graph.name = "eaves"
    proto.doc_string = graph.doc_string = ""
    _name_batch(graph)
    _name_weights(graph)
    input_spec, outputs = _interface(graph)
    if split and not any(is_head(tensor.name) for tensor in graph.initializer):
        raise ConversionError("the run's backbone is frozen, but the graph has no weights of a layer named head")
    _move_weights(graph, model.parent, split=split)
    model.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(model))
    return Graph(input=input_spec, outputs=outputs)


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the trained head: its name holds the Keras layer's."""
    return any(part == "head" or part.startswith("head_") for part in name.split("/"))


def _name_batch(graph: onnx.GraphProto) -> None:
    """The batch dimension is called `unk__NNN` after a process-wide counter; give every unnamed one a stable name."""
    names: dict[str, str] = {}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                fresh = "batch" if axis == 0 else f"dim_{len(names)}"
                dim.dim_param = names.setdefault(dim.dim_param, fresh)


def _name_weights(graph: onnx.GraphProto) -> None:
    """Name and order initializers by where they are first used.

    tf2onnx merges equal constants (zeros of two layers, say) and keeps the name of whichever comes first in a set of
    objects: seen on MobileNet V3, another one at each conversion. Nodes and their order stay.
    """
    known = {tensor.name: tensor for tensor in graph.initializer}
    names: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in known:
                part = "head" if is_head(name) else "backbone"
                node.input[index] = names.setdefault(name, f"{part}/{len(names):04d}")
    used = [known[name] for name in names]
    for tensor in used:
        tensor.name = names[tensor.name]
    ordered = [TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
    del graph.initializer[:]
    graph.initializer.extend(ordered)


def _interface(graph: onnx.GraphProto) -> tuple[TensorSpec, tuple[TensorSpec, ...]]:
    inputs = [_spec(value) for value in graph.input]
    outputs = tuple(sorted((_spec(value) for value in graph.output), key=lambda spec: spec.name))
    if [spec.name for spec in inputs] != ["image"] or {spec.name for spec in outputs} != {"logits", "probabilities"}:
        found = f"inputs {[spec.name for spec in inputs]}, outputs {[spec.name for spec in outputs]}"
        raise ConversionError(f"the graph must take `image` and give `logits` and `probabilities`; it has {found}")
    return inputs[0], outputs


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _move_weights(graph: onnx.GraphProto, folder: Path, *, split: bool) -> None:
    """Large tensors leave the graph; with a split all weights of the head do, or another head is another graph."""
    moved = sorted(
        (tensor for tensor in graph.initializer if _is_large(tensor) or (split and _is_head_weight(tensor))),
        key=lambda tensor: tensor.name,
    )
    (folder / "weights").mkdir(parents=True)
    _write_part(moved, folder, BACKBONE, lambda name: not (split and is_head(name)))
    if split:
        _write_part(moved, folder, HEAD, is_head)


def _is_large(tensor: TensorProto) -> bool:
    return bool(tensor.ByteSize() > INLINE_BYTES)


def _is_head_weight(tensor: TensorProto) -> bool:
    """Bias and temperature are small; a shape or an axis (integers) is structure and the same for every head."""
    return is_head(tensor.name) and tensor.data_type == TensorProto.FLOAT


def _write_part(tensors: list[TensorProto], folder: Path, location: str, belongs: Callable[[str], bool]) -> None:
    with (folder / location).open("wb") as stream:
        for tensor in tensors:
            if not belongs(tensor.name):
                continue
            raw = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            stream.write(b"\0" * (-stream.tell() % ALIGN_BYTES))
            offset = stream.tell()
            stream.write(raw)
            _clear(tensor)
            tensor.raw_data = raw  # set_external_data wants it present
            set_external_data(tensor, location, offset=offset, length=len(raw))
            tensor.ClearField("raw_data")


def _clear(tensor: TensorProto) -> None:
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
        tensor.ClearField(field)
