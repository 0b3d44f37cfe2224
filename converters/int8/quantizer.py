"""Quantises fp32 graphs to int8: static, per channel, 7-bit weights and 8-bit activations.

Layers after the convolutions stay fp32. Weights have 7 bits, because the sum of two products of 7-bit weights and 8-bit
activations fits into the 16 bits that x86 CPUs without VNNI use for it (VPMADDUBSW saturates).

Ranges by channel, equalising and bias correction are Eaves' own, as onnxruntime's calibrators keep every activation in
memory or use whole tensors, and none corrects a bias.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from converters.int8.equalizer import ChannelCalibration, by_group
from converters.onnx.graph import canonicalize, is_head, open_session, optimize
from converters.onnx.graph_rewrites import Graph, attributes, replace_nodes, unshare
from eaves.inference.quantizer import CalibrationMethod, QDQQuantizer, QuantType, TensorData, TensorsData
from trainer.progress import TrainingProgress

OPERATORS = ("Conv", "Relu", "Clip", "MaxPool", "AveragePool", "Concat", "Add", "Mul")
"""Operators that have an int8 kernel and are between convolutions. The others (global pooling, the head, softmax) take
little time and lose the most accuracy when quantised: a head's weights have outliers (a real classifier fell from 0.61
to 0.15)."""
LIMIT = 64
"""Largest absolute value of a quantised weight of 7 bits. Source: onnxruntime, quantization/quant_utils.py,
symmetric, `reduce_range`."""
RANKING_IMAGES = 6
"""Number of images on which the error of each layer is measured; so few suffice to find the worst layers."""


def quantize(
    model: onnx.ModelProto, calibration: ChannelCalibration, folder: Path, *, keep: Collection[str] = ()
) -> onnx.ModelProto:
    """Quantise a prepared graph.

    Args:
        model: Prepared graph, equalised or not; it is not changed.
        calibration: Calibration of the graph.
        folder: Folder for intermediate files.
        keep: Names of convolutions that stay fp32.

    Returns:
        model: One portable, optimised graph, which must be opened with optimisation disabled.
    """
    fresh = onnx.ModelProto()
    fresh.CopyFrom(model)
    unshare(fresh)
    graph = Graph(fresh.graph)
    spared = _spared(graph, set(keep), calibration)
    for node in fresh.graph.node:
        if node.op_type == "Conv" and node.name not in spared:
            _correct_bias(graph, node, calibration)
    quantiser = QDQQuantizer(
        fresh,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=_ranges(graph, calibration),
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(spared),
        op_types_to_quantize=list(OPERATORS),
        extra_options={},
    )
    quantiser.quantize_model()
    quantised = quantiser.model.model
    _take_bytes(quantised)
    path = folder / "qdq.onnx"
    onnx.save(quantised, str(path))
    optimised = optimize(path, folder / "int8.onnx", "ENABLE_ALL")
    canonicalize(optimised)
    return optimised


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that can be quantised, in the order of the graph."""
    dims = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and dims.get(node.input[1]) == 4 and not is_head(node.name)
    ]


def with_makers(model: onnx.ModelProto, names: Collection[str]) -> tuple[str, ...]:
    """Return the named convolutions and the convolutions that compute their inputs, in the order of the graph.

    All of these convolutions must stay fp32, because a tensor is only left unrounded if the layers before and after it
    are fp32.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    kept, stack = set(names), [node.input[0] for node in model.graph.node if node.name in names]
    while stack:
        node = makers.get(stack.pop())
        if node is not None and node.op_type == "Conv":
            kept.add(node.name)
        elif node is not None and node.op_type in OPERATORS:
            stack += node.input
    return tuple(name for name in convolutions(model) if name in kept)


def _spared(graph: Graph, keep: set[str], calibration: ChannelCalibration) -> set[str]:
    """Return the nodes that stay fp32: head, nodes in `keep`, nodes without ranges, nodes with only fp32 inputs."""
    spared = {node.name for node in graph.proto.node if is_head(node.name) or node.name in keep}
    known = {*calibration, *graph.weights, ""}
    spared |= {node.name for node in graph.proto.node if not known.issuperset((*node.input, *node.output))}
    exact: set[str] = set()
    for node in graph.proto.node:
        read = {name for name in node.input if name and name not in graph.weights}
        if node.op_type != "Conv" and node.op_type in OPERATORS and read <= exact:
            spared.add(node.name)
        if node.op_type in OPERATORS and node.name in spared and (node.op_type == "Conv" or read <= exact):
            exact.update(node.output)
    return spared


def _correct_bias(graph: Graph, conv: onnx.NodeProto, calibration: ChannelCalibration) -> None:
    """Correct a convolution's bias by the mean error that rounding its weights causes in the outputs.

    Source: Nagel et al. 2019 (arXiv:1906.04721), section 4.2, with means measured on images.
    """
    kernel = graph.value(conv.input[1])
    channels = calibration.get(conv.input[0])
    if kernel is None or channels is None or len(conv.input) < 3 or graph.value(conv.input[2]) is None:
        return
    exact = kernel.astype(np.float64)
    error = (_round(exact) - exact).sum(axis=(2, 3))
    means = by_group(channels.mean, exact.shape, attributes(conv).get("group", 1))
    bias = numpy_helper.to_array(graph.weights[conv.input[2]])
    graph.set_value(conv.input[2], bias - (error * means).sum(axis=1))


def _round(kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a kernel with weights rounded as int8 rounds them; the largest weight of each output is `LIMIT` steps."""
    step = np.max(np.abs(kernel), axis=tuple(range(1, kernel.ndim)), keepdims=True) / LIMIT
    step[step == 0] = 1
    rounded: npt.NDArray[np.float64] = np.round(kernel / step) * step
    return rounded


def _ranges(graph: Graph, calibration: ChannelCalibration) -> TensorsData:
    """Return the range of each tensor that int8 must represent.

    A tensor before a ReLU gets the range after it, because the ReLU cuts off the rest. The image gets 0 to 255.
    """
    data = {}
    for name, channels in calibration.items():
        after = graph.only_user(name)
        cut = calibration.get(after.output[0], channels) if after and after.op_type == "Relu" else channels
        low, high = float(cut.low.min()), float(cut.high.max())
        data[name] = TensorData(lowest=np.float32(low), highest=np.float32(high))
    for node in graph.proto.node:
        if node.op_type == "Cast" and _shows_bytes(graph.proto, node):
            data[node.output[0]] = TensorData(lowest=np.float32(0), highest=np.float32(255))
    return TensorsData(CalibrationMethod.MinMax, data)


def _shows_bytes(graph: onnx.GraphProto, cast: onnx.NodeProto) -> bool:
    """Return whether a Cast node converts the image's bytes to floats, with nothing but transpositions before it."""
    makers = {node.output[0]: node for node in graph.node}
    node = makers.get(cast.input[0])
    while node is not None and node.op_type == "Transpose":
        node = makers.get(node.input[0])
    return node is None


def _take_bytes(model: onnx.ModelProto) -> None:
    """Remove the conversion of the image to floats and back to uint8, which changes no value."""
    graph = Graph(model.graph)
    nodes, taken = list(model.graph.node), dict[str, str]()
    for node in model.graph.node:
        quantise = graph.only_user(node.output[0]) if node.op_type == "Cast" else None
        if quantise is None or quantise.op_type != "QuantizeLinear" or not _shows_bytes(model.graph, node):
            continue
        step, zero = graph.value(quantise.input[1]), graph.value(quantise.input[2])
        if step is not None and zero is not None and step == 1 and zero == 0 and zero.dtype == np.uint8:
            taken[quantise.output[0]] = node.input[0]
            nodes.remove(node)
            nodes.remove(quantise)
    for node in nodes:
        node.input[:] = [taken.get(name, name) for name in node.input]
    replace_nodes(model.graph, nodes)


def rank(
    model: onnx.ModelProto,
    calibration: ChannelCalibration,
    images: Sequence[npt.NDArray[np.uint8]],
    progress: TrainingProgress,
) -> list[str]:
    """Rank convolutions by the error of the logits when only one of them is rounded, the worst first.

    Args:
        model: Prepared graph.
        calibration: Calibration of the graph.
        images: Input tensors of `RANKING_IMAGES` calibration images, (H, W, 3) uint8.
        progress: Receives one step for each layer.
    """
    exact, names = _logits(model, images), convolutions(model)
    errors: dict[str, float] = {}
    with progress.phase("Measuring the layers' sensitivity to int8", len(names)) as step:
        for name in names:
            errors[name] = float(np.mean((_logits(fake_quantize(model, calibration, name), images) - exact) ** 2))
            step()
    return sorted(errors, key=lambda name: (-errors[name], name))


def _logits(model: onnx.ModelProto, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    session = open_session(model)
    return np.concatenate([session.run(["logits"], {"image": image[np.newaxis]})[0] for image in images])


def fake_quantize(model: onnx.ModelProto, calibration: ChannelCalibration, name: str) -> onnx.ModelProto:
    """Return a copy of a prepared graph in which one convolution uses rounded inputs and weights, in fp32."""
    fresh = onnx.ModelProto()
    fresh.CopyFrom(model)
    unshare(fresh)
    graph = Graph(fresh.graph)
    (conv,) = (node for node in fresh.graph.node if node.name == name)
    _correct_bias(graph, conv, calibration)
    kernel = numpy_helper.to_array(graph.weights[conv.input[1]]).astype(np.float64)
    graph.set_value(conv.input[1], _round(kernel))
    channels = calibration.get(conv.input[0])
    if channels is None:
        return fresh
    low, high = float(channels.low.min()), float(channels.high.max())
    width = (high - low) / 255 or 1.0
    zero = np.uint8(np.clip(round(-low / width), 0, 255))
    for weight, value in (("fake/step", np.array(width, np.float32)), ("fake/zero", np.array(zero))):
        fresh.graph.initializer.append(numpy_helper.from_array(value, weight))
    source, conv.input[0] = conv.input[0], "fake/rounded"
    pair = [
        helper.make_node("QuantizeLinear", [source, "fake/step", "fake/zero"], ["fake/bytes"], name="fake/quantise"),
        helper.make_node(
            "DequantizeLinear", ["fake/bytes", "fake/step", "fake/zero"], ["fake/rounded"], name="fake/back"
        ),
    ]
    place = list(fresh.graph.node).index(conv)
    replace_nodes(fresh.graph, [*fresh.graph.node[:place], *pair, *fresh.graph.node[place:]])
    return fresh
