"""Prepares graphs for the edge by onnxruntime's optimisers, names their parts, and writes them with weights apart.

A graph stays fp32 and portable, and its parts are named by the model alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

from converters.onnx.graph_rewrites import fold_scaling, multiply_at_positions, pool_globally, project_before_pooling
from eaves.artifact import TensorSpec
from eaves.artifact.manifest import FEATURES, MAP, OUTPUTS
from eaves.errors import ConversionError
from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

WEIGHTS = "weights"
BACKBONE, HEAD = "backbone.bin", "head.bin"
INLINE_BYTES = 1024
"""Maximum size in bytes of a tensor (such as shapes, axes, scalars) that stays in the graph, so that optimizers can
read it. If the head has a file of its own, none of the head's weights stays in the graph."""
ALIGN_BYTES = 4096
"""Alignment of the offsets of weights; onnxruntime maps large tensors on page boundaries instead of copying them.

Source: onnx/docs/ExternalData.md.
"""
OUTPUT_SETS = ({*OUTPUTS}, {*OUTPUTS, FEATURES}, {*OUTPUTS, MAP})
"""Outputs of the graphs of models that take images."""


def read_signature(model: onnx.ModelProto, *, classifier: bool = True) -> tuple[TensorSpec, tuple[TensorSpec, ...]]:
    """Return the input and the outputs of a graph, as the manifest states them.

    Raises:
        ConversionError: The graph doesn't have exactly one input, or isn't a classifier's.
    """
    inputs = [_spec(value) for value in model.graph.input]
    outputs = tuple(sorted((_spec(value) for value in model.graph.output), key=lambda spec: spec.name))
    names = tuple(spec.name for spec in outputs)
    if classifier and ([spec.name for spec in inputs] != ["image"] or set(names) not in OUTPUT_SETS):
        found = f"the inputs {[spec.name for spec in inputs]} and the outputs {list(names)}"
        raise ConversionError(
            f"the graph must have the input `image` and the outputs `logits` and `probabilities`; it has {found}"
        )
    if len(inputs) != 1:
        raise ConversionError(f"the model must have one input; it has {', '.join(i.name for i in inputs) or 'none'}")
    return inputs[0], outputs


def is_head(name: str) -> bool:
    """Return whether a node or tensor belongs to the trained head: its name then contains the Keras layer's name."""
    return any(part == "head" or part.startswith("head_") for part in name.split("/"))


def find_features(model: Path) -> str:
    """Return the name of the tensor that the trained head of a graph's file reads; empty when it has no such head.

    The features are its last axis. The others are the batch and, for a model that finds anomalies, one or two axes of
    positions; in int8 graphs, these may be before the batch.
    """
    graph = onnx.load(str(model), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer if is_head(tensor.name)}
    return next((node.input[0] for node in graph.node if weights.intersection(node.input)), "")


def show_features(model: onnx.ModelProto) -> None:
    """Make the input of a run's head an output of its graph.

    Args:
        model: Exported model, changed in place; its weights may be in other files.

    Raises:
        ConversionError: The graph has no head.
    """
    graph = model.graph
    kernels = {tensor.name: tensor for tensor in graph.initializer if is_head(tensor.name) and len(tensor.dims) == 2}
    head = next((n for n in graph.node if n.op_type == "MatMul" and n.input[1] in kernels and is_head(n.name)), None)
    if head is None:
        raise ConversionError("the graph has no layer named head, so it has no features to output")
    old, size = head.input[0], kernels[head.input[1]].dims[0]
    for node in graph.node:
        node.input[:] = [FEATURES if name == old else name for name in node.input]
        node.output[:] = [FEATURES if name == old else name for name in node.output]
    del graph.value_info[:]
    graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", size]))


def canonicalize(model: onnx.ModelProto, *, heads: bool = True) -> None:
    """Order and name everything by what the graph computes, so that equal models are equal bytes.

    Nodes are sorted in the order in which the outputs need them, and numbered in this order, such as `conv_017`;
    weights are named `backbone/0017` or `head/0017`. tf2onnx names parts by counters and merges equal constants under
    any of their names, and neither it nor onnxruntime guarantees an order.

    Args:
        model: Model that is changed in place.
        heads: Whether parts named `head` are the trained head; foreign models may use the name for anything.
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
    # tf2onnx names the batch dimension `unk__NNN`, by a counter of the process.
    for value in (*graph.input, *graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis == 0 or dim.dim_param:
                dim.ClearField("dim_value")
                dim.dim_param = "batch" if axis == 0 else f"dim_{axis}"
    nodes = _in_order(graph)
    _rename(graph, nodes, heads=heads)
    del graph.node[:]
    graph.node.extend(nodes)


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return copies of the nodes that the outputs depend on, each after the nodes that it depends on itself."""
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
                # TensorFlow gives some constants of a layer no name, such as a Normalization's mean.
                of_head = heads and (is_head(name) or is_head(node.name))
                names[name] = f"{'head' if of_head else 'backbone'}/{len(used):04d}"
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


def write_graph(model: onnx.ModelProto, path: Path, *, split: bool) -> None:
    """Write a graph with its weights in separate files.

    Args:
        model: Model named by `canonicalize`; its large weights are removed from it.
        path: Path of the `model.onnx` to write.
        split: Whether the frozen backbone and the trained head get a file each; otherwise all weights are in the
            backbone's file.

    Raises:
        ConversionError: `split` is set, and the graph has no head.
    """
    graph = model.graph
    if split and not any(is_head(tensor.name) for tensor in graph.initializer):
        raise ConversionError("the run's backbone is frozen, but the graph has no weights of a layer named head")
    # Integers of the head, such as shapes, stay, because they are the same for every head.
    moved = [
        tensor
        for tensor in graph.initializer
        if tensor.ByteSize() > INLINE_BYTES
        or (split and is_head(tensor.name) and tensor.data_type == TensorProto.FLOAT)
    ]
    (path.parent / WEIGHTS).mkdir(parents=True, exist_ok=True)
    write_part(moved, path.parent, f"{WEIGHTS}/{BACKBONE}", lambda name: not (split and is_head(name)))
    if split:
        write_part(moved, path.parent, f"{WEIGHTS}/{HEAD}", is_head)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def write_part(tensors: list[TensorProto], folder: Path, location: str, belongs: Callable[[str], bool]) -> None:
    """Write the tensors whose names belong to a part to its file, and refer to it in them."""
    with (folder / location).open("wb") as stream:
        for tensor in tensors:
            if not belongs(tensor.name):
                continue
            raw = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            stream.write(b"\0" * (-stream.tell() % ALIGN_BYTES))
            offset = stream.tell()
            stream.write(raw)
            for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
                tensor.ClearField(field)
            tensor.raw_data = raw  # set_external_data needs it to be present
            set_external_data(tensor, location, offset=offset, length=len(raw))
            tensor.ClearField("raw_data")


DISABLED_OPTIMISERS = ["WeightBiasQuantization", "NchwcTransformer"]
"""The first quantises an fp32 convolution between two int8 ones, always with 8-bit weights; the second makes a graph
for one instruction set: it stores the weights in blocks as wide as this CPU's vectors.

Source: onnxruntime, core/optimizer/qdq_transformer/weight_bias_quantization.cc and nchwc_transformer.cc.
"""


def open_session(model: onnx.ModelProto | Path, level: str = "ENABLE_ALL", **options: Any) -> InferenceSession:
    """Open a graph in onnxruntime on one thread, because several would sum in another order each time.

    Args:
        model: The graph, or its file.
        level: Level of optimisation, the end of the name in `GraphOptimizationLevel`.
        options: Further arguments of `InferenceSession`, and `output`: file that the optimised graph is written to.
    """
    chosen = SessionOptions()
    chosen.intra_op_num_threads = 1
    chosen.log_severity_level = 3
    chosen.graph_optimization_level = getattr(GraphOptimizationLevel, f"ORT_{level}")
    chosen.optimized_model_filepath = str(options.pop("output", ""))
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return InferenceSession(given, chosen, providers=["CPUExecutionProvider"], **options)


def optimize(model: Path, output: Path, level: str) -> onnx.ModelProto:
    """Optimise a graph for any CPU, write it to `output` with the weights inside, and read it.

    Args:
        model: Path of the ONNX file.
        output: File to write.
        level: `ENABLE_BASIC`: folds constants and batch normalisation and uses only ONNX's operators;
            `ENABLE_EXTENDED`: also fuses operators to those of onnxruntime; `ENABLE_ALL`: also changes the layout.

    Raises:
        ConversionError: The graph is refused by onnxruntime.
    """
    try:
        open_session(model, level, output=output, disabled_optimizers=DISABLED_OPTIMISERS)
    except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
        raise ConversionError(
            f"onnxruntime can't run the exported graph: {str(error)[:300]}", hint="set another convert.opset"
        ) from error
    return onnx.load(str(output))


def prepare(exported: Path, *, split: bool, images: bool = True) -> onnx.ModelProto:
    """Fold constants, apply rewrites that onnxruntime doesn't do, and name everything.

    Args:
        exported: Path of the exported ONNX file.
        split: Whether a head was trained on a frozen backbone.
        images: Whether the model takes images; the graph of another model is only folded and named.

    Returns:
        model: Graph of ONNX's own operators with the weights inside, which is then fused or quantised.

    Raises:
        ConversionError: The graph can't be read, isn't a classifier's, or onnxruntime refuses it.
    """
    try:
        model = onnx.load(str(exported))
    except Exception as error:  # protobuf raises its own exceptions, and the file may not exist
        raise ConversionError(f"the exported ONNX graph can't be read: {error}") from error
    read_signature(model, classifier=images)
    with tempfile.TemporaryDirectory(dir=exported.parent) as folder:
        if images:
            pool_globally(model)
            multiply_at_positions(model)
        model = _fold(model, Path(folder))
        if images and any([fold_scaling(model), project_before_pooling(model)]):
            model = _fold(model, Path(folder))
    canonicalize(model, heads=split)
    return model


def fuse(prepared: Path, folder: Path) -> onnx.ModelProto:
    """Return the fp32 graph with fused operators, in the standard memory layout, so that it runs on every CPU."""
    fused = optimize(prepared, folder / "fused.onnx", "ENABLE_EXTENDED")
    canonicalize(fused)
    return fused


def _fold(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    del model.graph.value_info[:]
    path = folder / "rewritten.onnx"
    onnx.save(model, str(path))
    return optimize(path, folder / "folded.onnx", "ENABLE_BASIC")
