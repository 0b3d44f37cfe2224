"""Graphs made ready to be written: names that depend on nothing but the model, weights split where training froze."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

from eaves.artifact import TensorSpec
from eaves.artifact.manifest import FEATURES
from eaves.errors import ConversionError

WEIGHTS = "weights"
BACKBONE, HEAD = "backbone.bin", "head.bin"
INLINE_BYTES = 1024
"""Smaller tensors (shapes, axes, scalars) stay in the graph: optimisers read them. A split head's weights never do."""
ALIGN_BYTES = 4096
"""Offsets on page boundaries let onnxruntime map large tensors instead of copying them.

Source: onnx/docs/ExternalData.md."""
OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the manifest says of a graph."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


def read_signature(model: onnx.ModelProto) -> Signature:
    """A graph's input and outputs.

    Raises:
        ConversionError: When it isn't a classifier's.
    """
    inputs = [_spec(value) for value in model.graph.input]
    outputs = tuple(sorted((_spec(value) for value in model.graph.output), key=lambda spec: spec.name))
    names = tuple(spec.name for spec in outputs)
    if [spec.name for spec in inputs] != ["image"] or names not in (OUTPUTS, (FEATURES, *OUTPUTS)):
        found = f"inputs {[spec.name for spec in inputs]}, outputs {[spec.name for spec in outputs]}"
        raise ConversionError(f"the graph must take `image` and give `logits` and `probabilities`; it has {found}")
    return Signature(input=inputs[0], outputs=outputs)


def read_tensors(model: onnx.ModelProto) -> Signature:
    """The input and outputs of a graph that is not about images.

    Raises:
        ConversionError: When it doesn't have one input.
    """
    inputs = [_spec(value) for value in model.graph.input]
    if len(inputs) != 1:
        raise ConversionError(f"the model must take one input; it has {', '.join(i.name for i in inputs) or 'none'}")
    outputs = sorted((_spec(value) for value in model.graph.output), key=lambda spec: spec.name)
    return Signature(input=inputs[0], outputs=tuple(outputs))


def is_head(name: str) -> bool:
    """Whether a node or tensor belongs to the trained head: its name holds the Keras layer's."""
    return any(part == "head" or part.startswith("head_") for part in name.split("/"))


def show_features(model: onnx.ModelProto) -> None:
    """Make what a run's head reads an output of its graph.

    Args:
        model: As exported, changed in place; weights may lie elsewhere.

    Raises:
        ConversionError: When there is no such layer.
    """
    graph = model.graph
    kernels = {tensor.name: tensor for tensor in graph.initializer if is_head(tensor.name) and len(tensor.dims) == 2}
    head = next((n for n in graph.node if n.op_type == "MatMul" and n.input[1] in kernels and is_head(n.name)), None)
    if head is None:
        raise ConversionError("the graph has no layer named head, so there are no features to show before it")
    old, size = head.input[0], kernels[head.input[1]].dims[0]
    for node in graph.node:
        node.input[:] = [FEATURES if name == old else name for name in node.input]
        node.output[:] = [FEATURES if name == old else name for name in node.output]
    del graph.value_info[:]
    graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", size]))


def canonicalize(model: onnx.ModelProto, *, heads: bool = True) -> None:
    """Order and name everything by what the graph computes, so that equal models are equal bytes.

    Nodes are put in the order in which the outputs need them and called `conv_017` after it, weights `backbone/0017` or
    `head/0017`: tf2onnx names by counters and merges equal constants under any one name, and neither it nor onnxruntime
    promises an order.

    Args:
        model: Changed in place.
        heads: Whether parts named `head` are the trained head; a model of others may call anything so.
    """
    graph = model.graph
    graph.name, graph.doc_string, model.doc_string = "eaves", "", ""
    model.producer_name, model.producer_version = "eaves", ""
    del graph.value_info[:], model.metadata_props[:]
    used = {node.domain for node in graph.node}
    domains = sorted((entry for entry in model.opset_import if entry.domain in used), key=lambda entry: entry.domain)
    domains = [onnx.OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in domains]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    _name_batch(graph)
    nodes = _in_order(graph)
    _rename(graph, nodes, heads=heads)
    del graph.node[:]
    graph.node.extend(nodes)


def _name_batch(graph: onnx.GraphProto) -> None:
    """The batch dimension is called `unk__NNN` after a process-wide counter; give every unnamed one a stable name."""
    for value in (*graph.input, *graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis == 0 or dim.dim_param:
                dim.ClearField("dim_value")
                dim.dim_param = "batch" if axis == 0 else f"dim_{axis}"


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Copies of the nodes that the outputs need, each after those it needs, inputs first to last."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    ordered: list[int] = []
    seen: set[int] = set()
    for output in sorted(value.name for value in graph.output):
        stack = [(makers[output], False)] if output in makers else []
        while stack:
            index, ready = stack.pop()
            if ready:
                ordered.append(index)
            elif index not in seen:
                seen.add(index)
                stack.append((index, True))
                needed = [makers[name] for name in reversed(graph.node[index].input) if name in makers]
                stack += [(maker, False) for maker in needed]
    return [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in ordered]


def _rename(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], *, heads: bool) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    used: list[TensorProto] = []
    for number, node in enumerate(nodes):
        head = heads and any(is_head(name) for name in (node.name, *node.input) if name in weights or name == node.name)
        for name in node.input:
            if name in weights and name not in names:
                names[name] = f"{'head' if heads and is_head(name) else 'backbone'}/{len(used):04d}"
                used.append(weights[name])
        node.input[:] = [names.get(name, name) for name in node.input]
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{'head/' if head else ''}t{number:04d}{f'_{place}' if place else ''}")
        node.output[:] = [names[name] for name in node.output]
        node.name = f"{'head/' if head else ''}{node.op_type.lower()}_{number:03d}"
        node.ClearField("doc_string")
    for tensor in used:
        tensor.name = names[tensor.name]
        tensor.ClearField("doc_string")
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def write_graph(model: onnx.ModelProto, path: Path, *, split: bool, folder: str = WEIGHTS) -> None:
    """Write a graph, its weights in files beside it.

    Args:
        model: Named by `canonicalize`; its large weights are gone afterwards.
        path: `model.onnx` to write.
        split: Two files, frozen backbone and trained head, or all in the backbone's.
        folder: Where the weights go, from the graph; empty: beside it.

    Raises:
        ConversionError: When there is no head to split off.
    """
    graph = model.graph
    if split and not any(is_head(tensor.name) for tensor in graph.initializer):
        raise ConversionError("the run's backbone is frozen, but the graph has no weights of a layer named head")
    moved = [tensor for tensor in graph.initializer if _is_large(tensor) or (split and _is_head_weight(tensor))]
    (path.parent / folder).mkdir(parents=True, exist_ok=True)
    prefix = f"{folder}/" if folder else ""
    _write_part(moved, path.parent, prefix + BACKBONE, lambda name: not (split and is_head(name)))
    if split:
        _write_part(moved, path.parent, prefix + HEAD, is_head)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


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
