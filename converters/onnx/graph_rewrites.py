"""Rewrites graphs in ways that no optimizer does; each rewrite keeps the outputs and makes the graph cheaper to run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Values = npt.NDArray[Any]


class Graph:
    """An ONNX graph with indexes of its nodes and weights.

    Attributes:
        proto: The graph as protobuf.
        weights: Initializers by name.
    """

    def __init__(self, proto: onnx.GraphProto) -> None:
        self.proto = proto
        self.weights = {tensor.name: tensor for tensor in proto.initializer}
        self._users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in proto.node:
            for name in node.input:
                self._users[name].append(node)
        self._results = {value.name for value in proto.output}

    def users(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return self._users.get(name, [])

    def only_user(self, name: str) -> onnx.NodeProto | None:
        """Return the only node that reads a tensor; None when it is a result of the graph or has several readers."""
        users = self.users(name)
        return users[0] if len(users) == 1 and name not in self._results else None

    def value(self, name: str) -> Values | None:
        """Return a weight's values; None when the tensor is computed."""
        return numpy_helper.to_array(self.weights[name]) if name in self.weights else None

    def set_value(self, name: str, value: Values) -> None:
        """Replace a weight's values, keeping their type."""
        old = self.weights[name]
        dtype = helper.tensor_dtype_to_np_dtype(old.data_type)
        old.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def pads_nothing(conv: Mapping[str, Any]) -> bool:
    """Return whether a convolution or pooling with these attributes has no padding."""
    return conv.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and not any(conv.get("pads", ()))


def unshare(model: onnx.ModelProto) -> None:
    """Give each convolution its own copy of its weights.

    Exporters merge equal weights, and optimizers merge small ones, but a change for one convolution must not change
    another.
    """
    graph = Graph(model.graph)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if node.op_type == "Conv" and place and name in graph.weights and len(graph.users(name)) > 1:
                own = onnx.TensorProto.FromString(graph.weights[name].SerializeToString())
                own.name = node.input[place] = f"{name}/{node.output[0]}"
                model.graph.initializer.append(own)


def pool_globally(model: onnx.ModelProto) -> None:
    """Turn a mean over rows and columns (NHWC) into a pooling that optimizers know (NCHW).

    onnxruntime doesn't move a Transpose through a ReduceMean without kept axes (as in MobileNetV3), so that the
    Transpose and the batch normalisation after it would stay.
    """
    graph, weights = model.graph, Graph(model.graph)
    found = set[str]()
    for node in graph.node:
        if node.op_type == "ReduceMean" and not (given := attributes(node)).get("keepdims", 1):
            # Source: ONNX, ReduceMean: the axes are an attribute up to operator set 17, an input since.
            axes = weights.value(node.input[1]) if len(node.input) > 1 else given.get("axes", ())
            if axes is not None and list(axes) == [1, 2]:
                found.add(node.output[0])
    known = onnx.shape_inference.infer_shapes(model).graph.value_info if found else ()
    images = {value.name for value in known if len(value.type.tensor_type.shape.dim) == 4}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] not in found or node.input[0] not in images:
            nodes.append(node)
            continue
        name, out = node.name or node.output[0], node.output[0]
        nodes += [
            helper.make_node("Transpose", node.input[:1], [f"{out}/nchw"], name=f"{name}/nchw", perm=[0, 3, 1, 2]),
            helper.make_node("GlobalAveragePool", [f"{out}/nchw"], [f"{out}/pooled"], name=f"{name}/pooled"),
            helper.make_node("Flatten", [f"{out}/pooled"], [out], name=name),
        ]
    replace_nodes(graph, nodes)


def multiply_at_positions(model: onnx.ModelProto) -> None:
    """Turn an Einsum that multiplies by another matrix at each position into a MatMul, three times as fast."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Einsum" or not re.fullmatch(rb"(.)(.)(.),\2\3(.)->\1\2\4", attributes(node)["equation"]):
            nodes.append(node)
            continue
        name, out = node.name or node.output[0], node.output[0]
        positions_first: dict[str, Any] = {"perm": [1, 0, 2]}
        nodes += [
            helper.make_node("Transpose", node.input[:1], [f"{out}/rows"], name=f"{name}/rows", **positions_first),
            helper.make_node("MatMul", [f"{out}/rows", node.input[1]], [f"{out}/products"], name=f"{name}/products"),
            helper.make_node("Transpose", [f"{out}/products"], [out], name=name, **positions_first),
        ]
    replace_nodes(model.graph, nodes)


def fold_scaling(model: onnx.ModelProto) -> bool:
    """Scale the first convolution's weights instead of the image.

    w * (m x + a) = (w m) x + w a. The second term is a constant, and so a bias, only if every position of the kernel is
    on the image, which means VALID padding, or if a is 0.

    Returns:
        folded: Whether a scale was found and folded.
    """
    unshare(model)
    graph = Graph(model.graph)
    steps: list[onnx.NodeProto] = []
    node = graph.only_user("image")
    while node is not None and node.op_type in ("Cast", "Mul", "Add", "Transpose"):
        steps.append(node)
        node = graph.only_user(node.output[0])
    if node is None or node.op_type != "Conv" or attributes(node).get("group", 1) != 1:
        return False
    kernel = graph.value(node.input[1])
    scale = _read_scale(graph, steps)
    if kernel is None or kernel.dtype != np.float32 or scale is None:
        return False
    multiply, add = scale
    if np.any(add) and not pads_nothing(attributes(node)):
        return False
    if len(node.input) < 3:
        bias_name = f"{node.output[0]}/bias"
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(len(kernel), np.float32), bias_name))
        node.input.append(bias_name)
        graph = Graph(model.graph)
    bias = graph.value(node.input[2])
    if bias is None:
        return False
    exact = kernel.astype(np.float64)
    graph.set_value(node.input[2], bias + np.einsum("oihw,i->o", exact, add))
    graph.set_value(node.input[1], exact * multiply[:, np.newaxis, np.newaxis])
    # Transposing the image's bytes moves a quarter of the data that transposing floats would.
    gone = {step.output[0] for step in steps}
    node.input[0] = "image/float"
    fresh = [
        helper.make_node("Transpose", ["image"], ["image/nchw"], name="image/nchw", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["image/nchw"], ["image/float"], name="image/float", to=onnx.TensorProto.FLOAT),
    ]
    replace_nodes(model.graph, fresh + [one for one in model.graph.node if one.output[0] not in gone])
    return True


def _read_scale(graph: Graph, steps: list[onnx.NodeProto]) -> tuple[Values, Values] | None:
    """Return the factor and the offset, (multiply, add), by which the nodes in `steps` scale each channel.

    `steps` are the nodes before the first convolution. Return None when one of them does anything but scale, or
    transpose to channels first.
    """
    multiply, add, last_axis = np.ones(3), np.zeros(3), True
    for node in steps:
        if node.op_type == "Cast" and attributes(node).get("to") != onnx.TensorProto.FLOAT:
            return None  # the cast may round or cut off
        if node.op_type == "Transpose":
            if attributes(node).get("perm") != [0, 3, 1, 2]:
                return None
            last_axis = False
        elif node.op_type in ("Mul", "Add"):
            values = [value for value in map(graph.value, node.input) if value is not None]
            channels = _by_channel(values[0], last_axis=last_axis) if len(values) == 1 else None
            if channels is None:
                return None
            multiply, add = (
                (multiply * channels, add * channels) if node.op_type == "Mul" else (multiply, add + channels)
            )
    return None if last_axis else (multiply, add)


def _by_channel(value: Values, *, last_axis: bool) -> Values | None:
    """Return a constant as three numbers, one for each channel; None when it varies within a channel."""
    if value.size == 1:
        return np.full(3, float(value.reshape(())))
    shape = (3,) if last_axis else (3, 1, 1)
    if value.size == 3 and value.shape[-len(shape) :] == shape:
        return value.reshape(3).astype(np.float64)
    return None


def project_before_pooling(model: onnx.ModelProto) -> int:
    """Move a 1x1 convolution that reduces channels before the average pooling that feeds it.

    Both are linear, one across channels and the other across pixels, so their order can change; the bias too, because
    an average without padding keeps constants. The pooling then processes a fraction of the channels: in Inception V3 a
    tenth to a quarter, where quantised pooling took a third of the whole time.

    Returns:
        swapped: Number of swapped pairs.
    """
    graph = Graph(model.graph)
    place = {node.output[0]: index for index, node in enumerate(model.graph.node)}
    swaps = []
    for pool in model.graph.node:
        conv = graph.only_user(pool.output[0]) if pool.op_type == "AveragePool" else None
        if conv is None or conv.op_type != "Conv" or not graph.weights.keys() >= set(conv.input[1:]):
            continue
        given, own = attributes(pool), attributes(conv)
        counts_padding = given.get("count_include_pad", 0) and not pads_nothing(given)
        narrow, wide, *kernel = graph.weights[conv.input[1]].dims
        plain = pads_nothing(own) and own.get("group", 1) == 1 and set(own.get("strides", [1])) == {1}
        if plain and set(kernel) == {1} and narrow < wide and not counts_padding and not given.get("ceil_mode", 0):
            swaps.append((place[pool.output[0]], place[conv.output[0]]))
    for first, second in swaps:
        _swap(model.graph.node[first], model.graph.node[second])
    return len(swaps)


def _swap(pool: onnx.NodeProto, conv: onnx.NodeProto) -> None:
    """Exchange a pooling and the convolution after it; no other node may read the tensor between them."""
    first, second = onnx.NodeProto(), onnx.NodeProto()
    first.CopyFrom(conv)
    second.CopyFrom(pool)
    first.input[0], second.input[0] = pool.input[0], f"{conv.output[0]}/unpooled"
    first.output[0], second.output[0] = second.input[0], conv.output[0]
    pool.CopyFrom(first)
    conv.CopyFrom(second)


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Replace the nodes of a graph; the new list may contain some of the old ones."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
