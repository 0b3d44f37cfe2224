"""Adds the input and outputs that every artifact has to a declared model's graph: scaling before it, softmax after it.

    image uint8 (batch, H, W, 3) RGB -> order of channels -> scale -> layout -> the model -> logits, probabilities

For the proof, `converters.reference_process` computes the same steps in NumPy, so that the proof is independent of this
module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.declaration import Interface, check_input
from eaves.artifact import TensorSpec
from eaves.artifact.manifest import FEATURES, label_output
from eaves.errors import ArtifactError, ConversionError
from eaves.recipe import Recipe

OWN = "eaves/own/"
"""Prefix for the names of the model's own tensors that might collide with those of the interface."""
Step = tuple[str, list[str], dict[str, Any]]
"""A node to add to a graph: its operator, its inputs after the first one, and its attributes."""
OURS = ("image", "logits", "probabilities")
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
SMALLEST = 1e-12
"""Lower bound of probabilities before their logarithm is taken."""


NUMBERS = ["float16", "float32", "float64", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))]
_OURS = re.compile(r"(head/)?t[0-9]{4}(_[0-9]+)?|(head|backbone)/[0-9]{4}")
"""Pattern of the names that `canonicalize` gives to tensors within a graph; a model's inputs and outputs may not have
them."""


def check_names(model: onnx.ModelProto) -> None:
    """Check that inputs and outputs have usable names, not those the conversion itself gives, and a batch axis.

    For a model that takes no images, whose own input and outputs a function serves unchanged.

    Raises:
        ConversionError: The name or the shape of one is not supported.
    """
    for value in (*model.graph.input, *model.graph.output):
        if not (0 < len(value.name) <= 64 and value.name.isprintable()) or _OURS.fullmatch(value.name):
            raise ConversionError(
                f"the input or output name {value.name[:80]!r} is not supported",
                hint="export the model with another name",
            )
        dims = value.type.tensor_type.shape.dim
        if not dims or (dims[0].HasField("dim_value") and dims[0].dim_value != 1):
            sizes = [dim.dim_value or dim.dim_param or "any" for dim in dims]
            raise ConversionError(
                f"{value.name} has the shape {sizes}; its first axis must be the batch axis, with the size 1 or any",
                hint="export the model with the batch as the first axis of the input and of every output",
            )


def check_numbers(own: TensorSpec, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> None:
    """Check that a function can serve the input and the outputs of a graph that takes no images.

    Raises:
        ConversionError: They aren't numbers, or don't fit the labels.
    """
    for spec in (own, *outputs):
        if spec.dtype not in NUMBERS:
            raise ConversionError(f"{spec.name} has the type {spec.dtype}; supported are {', '.join(NUMBERS)}")
    if len(own.shape) < 2:
        raise ConversionError(f"the input {own.name} has only a batch axis; at least one more axis is needed")
    try:
        label_output(labels, outputs)
    except ArtifactError as error:
        raise ConversionError(error.message, hint=error.hint) from error


def adapt(model: onnx.ModelProto, interface: Interface, recipe: Recipe, classes: int) -> None:
    """Add the interface to a model's graph in place.

    Args:
        model: Model with its own input and outputs; its external data is not changed.
        interface: Input and outputs of the model.
        recipe: Recipe with the size of the input.
        classes: Number of labels.

    Raises:
        ConversionError: The inputs or outputs are not as declared.
    """
    graph = model.graph
    own_input = interface.pick_input([value.name for value in graph.input])
    logits, probabilities = interface.pick_outputs([value.name for value in graph.output])
    (value,) = graph.input
    check_input(_shape(value), interface, recipe.height, recipe.width)
    # A sigmoid gives the probability of the second of two labels alone.
    shapes = [_shape(output) for output in graph.output if output.name == probabilities]
    single = classes == 2 and shapes and shapes[0] is not None and shapes[0][1:] == [1]
    read = {name: _check_output(graph, name, 1 if single else classes) for name in (logits, probabilities) if name}
    features = interface.features
    names = {name: f"{OWN}{name}" for name in (*OURS, FEATURES, own_input, *read, features)}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in [*graph.initializer, *graph.input]:
        item.name = names.get(item.name, item.name)
    before = _before(graph, value, interface)
    own_logits, own_probabilities = (name and f"{OWN}{name}" for name in (logits, probabilities))
    behind = _behind(graph, own_logits, own_probabilities, read, single=bool(single))
    if features:
        flat: list[Step] = [("Flatten", [], {"axis": 1}), ("Cast", [], {"to": TensorProto.FLOAT})]
        behind += _chain(flat, f"{OWN}{features}", FEATURES, "behind_features")
    nodes = [*before, *graph.node, *behind]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]  # shapes may hold another batch size
    graph.node.extend(nodes)
    shape: list[str | int | None] = ["batch", recipe.height, recipe.width, 3]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, shape))
    for name in OURS[1:]:
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes]))
    if features:
        graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", None]))


def _before(graph: onnx.GraphProto, value: onnx.ValueInfoProto, interface: Interface) -> list[onnx.NodeProto]:
    """Return the nodes that compute the model's own input, the tensor `value.name`, from the artifact's `image`."""
    kind = value.type.tensor_type.elem_type
    steps: list[Step] = []
    if interface.channels == "BGR":
        steps.append(("Gather", [_constant(graph, "bgr", np.array([2, 1, 0], np.int64))], {"axis": 3}))
    if kind in FLOATS:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        for name, operator, factors in (("multiply", "Mul", interface.multiply), ("add", "Add", interface.add)):
            if set(factors) != {1.0 if operator == "Mul" else 0.0}:
                steps.append((operator, [_constant(graph, name, np.array(factors, np.float32))], {}))
        if kind != TensorProto.FLOAT:
            steps.append(("Cast", [], {"to": kind}))
    elif kind != TensorProto.UINT8:
        raise ConversionError(
            f"the model's input has the type {helper.tensor_dtype_to_string(kind)}; supported are uint8 and floats",
            hint="export the model with a float32 input",
        )
    elif interface.scales:
        raise ConversionError(
            "the declaration has a scale, but the model's input is uint8, so the model scales pixels itself",
            hint="remove `multiply` and `add` from the declaration",
        )
    if interface.layout == "NCHW":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    return _chain(steps, "image", value.name, "before")


def _behind(
    graph: onnx.GraphProto, logits: str | None, probabilities: str | None, kinds: Mapping[str, int], *, single: bool
) -> list[onnx.NodeProto]:
    """Return the nodes that compute `logits` and `probabilities` from the model's own outputs.

    Args:
        graph: Graph of the model, which receives constants.
        logits: Name of the model's own output with logits, if it has one.
        probabilities: Name of the model's own output with probabilities, if it has one.
        kinds: Element type of each of these outputs.
        single: Whether the probabilities are that of the second label alone.
    """
    nodes = []
    for own, name in ((logits, "logits"), (probabilities, "probabilities")):
        if own:
            cast = kinds[own.removeprefix(OWN)] != TensorProto.FLOAT
            step: Step = ("Cast", [], {"to": TensorProto.FLOAT}) if cast else ("Identity", [], {})
            second = name == "probabilities" and single
            nodes += _chain([step], own, f"{OWN}second" if second else name, f"behind_{name}")
    if single:
        one = _constant(graph, "one", np.array(1, np.float32))
        steps: list[Step] = [("Neg", [], {}), ("Add", [one], {}), ("Concat", [f"{OWN}second"], {"axis": -1})]
        nodes += _chain(steps, f"{OWN}second", "probabilities", "both_labels")
    if not probabilities:
        nodes += _chain([("Softmax", [], {"axis": -1})], "logits", "probabilities", "softmax")
    if not logits:
        least = _constant(graph, "smallest", np.array(SMALLEST, np.float32))
        nodes += _chain([("Max", [least], {}), ("Log", [], {})], "probabilities", "logits", "logarithm")
    return nodes


def _chain(steps: list[Step], first: str, last: str, name: str) -> list[onnx.NodeProto]:
    nodes, current = [], first
    for number, (operator, more, attributes) in enumerate(steps or [("Identity", [], {})], start=1):
        following = last if number >= len(steps) else f"eaves/{name}_{number}"
        node = helper.make_node(operator, [current, *more], [following], name=f"eaves/{name}_{number}", **attributes)
        nodes.append(node)
        current = following
    return nodes


def _constant(graph: onnx.GraphProto, name: str, value: npt.NDArray[Any]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, f"eaves/{name}"))
    return f"eaves/{name}"


def _check_output(graph: onnx.GraphProto, name: str, classes: int) -> int:
    """Check that an output has one float for each label, and return its element type."""
    value = next(value for value in graph.output if value.name == name)
    shape, kind = _shape(value), value.type.tensor_type.elem_type
    if kind not in FLOATS:
        raise ConversionError(
            f"the output {name} has the type {helper.tensor_dtype_to_string(kind)}; floats are required"
        )
    if shape is not None and (len(shape) != 2 or shape[1] not in {None, classes}):
        found = ", ".join("?" if size is None else str(size) for size in shape)
        raise ConversionError(
            f"the output {name} has the shape ({found}), but the declaration has {classes} labels",
            hint="declare as many labels as the model has classes (two for a single probability, a sigmoid's, which is "
            "that of the second label), or name another output",
        )
    return int(kind)


def _shape(value: onnx.ValueInfoProto) -> list[int | None] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
