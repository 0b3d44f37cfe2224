"""Opens a TensorFlow model of any format as one concrete function, and separates that from its large weights.

This is a module of child processes. Freezing copies every weight into the graph (1.7 GB for Inception V3's 87 MB), the
graph's optimizer copies them again (2.8 GB) and tf2onnx once more (6 GB). In a graph of `build_weightless_graph` a
large weight is an input with a known shape instead, and no weight is copied. Only kernels of convolutions and matrix
products are separated: other weights (batch normalisation, biases, depthwise kernels) and captured constants become
constants as usual, so that both optimizers fold them.

It uses TensorFlow's private API: only `convert_to_constants` inlines a function's calls without freezing it. TensorFlow
is pinned to one minor version, and every conversion is proven by parity. For an unsupported graph `UnsupportedError` is
raised, and the caller freezes the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from eaves.errors import ConversionError


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A model that is opened in TensorFlow.

    Attributes:
        function: Concrete function of the model.
        names: Name of the input and of every output by the name of its tensor.
        dtype: NumPy type of the input.
        call: Function from a batch to the outputs by name.
        keep: Loaded object, which keeps the variables alive.
    """

    function: Any
    names: Mapping[str, str]
    dtype: Any
    call: Callable[[Any], Mapping[str, Any]]
    keep: Any


def open_model(job: Mapping[str, Any]) -> OpenedModel:
    """Load a SavedModel or a Keras file.

    Args:
        job: Result of `ModelSource.job`.

    Raises:
        ConversionError: The signature doesn't exist, the model doesn't take exactly one input of images, or a layer
            holds code.
    """
    keras = job["route"] == "keras"
    function, keep = _open_keras(job) if keras else _open_saved_model(job)
    captured = {tensor.name for tensor in function.graph.internal_captures}
    inputs = [tensor for tensor in function.inputs if tensor.name not in captured]
    specs = tf.nest.flatten(function.structured_input_signature)
    if len(inputs) != 1:
        found = ", ".join(spec.name for spec in specs) or "none"
        raise ConversionError(f"the model must have one input, the images; it has {found}")
    name = str(specs[0].name)
    outputs = dict(zip([tensor.name for tensor in function.outputs], sorted(function.structured_outputs), strict=True))

    def call(batch: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = function(tf.constant(batch)) if keras else function(**{name: tf.constant(batch)})
        return {key: tensor.numpy() for key, tensor in answer.items()}

    return OpenedModel(
        function=function,
        names={inputs[0].name: name, **outputs},
        dtype=inputs[0].dtype.as_numpy_dtype,
        call=call,
        keep=keep,
    )


def _open_saved_model(job: Mapping[str, Any]) -> tuple[Any, Any]:
    loaded = tf.saved_model.load(job["model"], tags=["serve"])
    if job["signature"] not in loaded.signatures:
        found = ", ".join(sorted(loaded.signatures)) or "none"
        raise ConversionError(
            f"the SavedModel has no signature {job['signature']}; it has {found}",
            hint="declare an existing one as `signature`, or save the model again with a signature",
        )
    return loaded.signatures[job["signature"]], loaded


def _open_keras(job: Mapping[str, Any]) -> tuple[Any, Any]:
    import keras

    try:
        model = keras.saving.load_model(job["model"], compile=False, safe_mode=True)
    # Keras raises ValueError, TypeError and its own exceptions, and a broken zip raises others
    except Exception as error:
        reason = str(error)
        if "lambda" in reason.lower() or "safe_mode" in reason:
            reason = "a layer holds Python code (a Lambda), which Eaves never runs"
        raise ConversionError(
            f"Keras can't open the file: {reason[:300]}",
            hint="on a machine that has the model's code, write a SavedModel with `model.export(FOLDER)`, and "
            "convert that folder",
        ) from error
    inputs = getattr(model, "inputs", None) or []  # a subclass of Model may not know its inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in inputs) or "inputs that it does not name"
        raise ConversionError(
            f"the model must take one batch of images (batch, height, width, 3); it takes {found}",
            hint="build a model with one input, such as `keras.Model(images, model([images, constant]))`"
            if len(inputs) > 1
            else "build the model with `keras.Input`, or save it with `model.export(FOLDER)` and convert that folder",
        )
    (given,) = inputs
    # a Sequential has one output and doesn't name it
    named = getattr(model, "output_names", None) or [model.layers[-1].name]
    outputs = [name.split("/")[-1] for name in named]

    def serve(image: Any) -> dict[str, Any]:
        answer = model(image, training=False)
        if isinstance(answer, dict):
            return answer
        flat = answer if isinstance(answer, list | tuple) else [answer]
        return dict(zip(outputs, flat, strict=True))

    # The declared size, where the model takes any.
    sizes = (job["recipe"]["height"], job["recipe"]["width"])
    declared = (3, *sizes) if job["interface"]["layout"] == "NCHW" else (*sizes, 3)
    shape = (None, *(own or other for own, other in zip(given.shape[1:], declared, strict=True)))
    spec = tf.TensorSpec(shape, given.dtype, name=given.name)
    return tf.function(serve).get_concrete_function(spec), model


LARGE_BYTES = 16384
"""Size in bytes above which a weight is separated; it is above all vectors of the registered architectures, and below
their large kernels."""


KERNELS = {("Conv2D", 1), ("MatMul", 1), ("BatchMatMulV2", 1)}
"""Operators, each with the index of its kernel input, for which tf2onnx accepts an input in place of a constant; it
adds at most a Transpose to it."""


class UnsupportedError(Exception):
    """Raised for a graph whose large weights can't be separated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightlessGraph:
    """A graph with inputs in place of large weights.

    Attributes:
        graph: GraphDef without functions and resources.
        inputs: Tensor names of the model's own inputs.
        outputs: Tensor names of the model's outputs.
        weights: Tensor name of each further input to the function that reads its value.
    """

    graph: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Callable[[], npt.NDArray[Any]]]


def build_weightless_graph(function: Any) -> WeightlessGraph:
    """Separate the large weights from a concrete function.

    Raises:
        UnsupportedError: The function reads variables within loops or branches, gathers from them, changes them, or
            uses resources that are no variables.
    """
    graph = convert_to_constants._run_inline_graph_optimization(function, False, True)  # noqa: SLF001
    captured = {
        inner.op.name: outer
        for outer, inner in zip(function.captured_inputs, function.graph.internal_captures, strict=True)
    }
    if any(node.op.startswith("Assign") for node in graph.node):
        raise UnsupportedError("the model changes variables while it runs")
    outputs = tuple(tensor.name for tensor in function.outputs)
    made, readers = _replace(graph, captured)
    wanted = [name.split(":")[0] for name in outputs]
    made = tf.compat.v1.graph_util.extract_sub_graph(made, wanted)
    left = {node.name for node in made.node}
    if made.library.function or not left.isdisjoint(name for name, e in captured.items() if e.dtype == tf.resource):
        raise UnsupportedError(
            "the model uses a variable within a loop, a branch or a function, or in another way than reading"
        )
    return WeightlessGraph(
        graph=made,
        inputs=tuple(tensor.name for tensor in function.inputs if tensor.op.name not in captured),
        outputs=outputs,
        weights={f"{name}:0": read for name, read in readers.items() if name in left},
    )


def _replace(graph: Any, captured: Mapping[str, Any]) -> tuple[Any, dict[str, Callable[[], npt.NDArray[Any]]]]:
    """Replace captured tensors and reads of variables by constants, and reads of large kernels by graph inputs."""
    nodes = {node.name: node for node in graph.node}
    made = tf.compat.v1.GraphDef()
    made.versions.CopyFrom(graph.versions)
    made.library.CopyFrom(graph.library)
    readers: dict[str, Callable[[], npt.NDArray[Any]]] = {}
    uses: dict[str, set[tuple[str, int]]] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            uses.setdefault(name.split(":")[0], set()).add((node.op, index))
    kernels = {name for name, used in uses.items() if used <= KERNELS}
    for node in graph.node:
        if node.name in captured and captured[node.name].dtype != tf.resource:
            _add_constant(made, node.name, captured[node.name].numpy())
        elif node.op == "ReadVariableOp":
            handle = nodes[node.input[0].split(":")[0]]  # of a variable, behind Identity nodes
            while handle.op == "Identity":
                handle = nodes[handle.input[0].split(":")[0]]
            if handle.name not in captured:
                raise UnsupportedError(f"the model creates a variable while it runs ({handle.name})")
            variable, kind = captured[handle.name], tf.as_dtype(node.attr["dtype"].type)
            read = partial(_read_variable, variable, kind)
            shape = [int(side) for side in tf.raw_ops.VariableShape(input=variable).numpy()]
            size = int(np.prod(shape)) * kind.size
            if size <= LARGE_BYTES or node.name not in kernels:
                _add_constant(made, node.name, read())
                continue
            readers[node.name] = read
            added = made.node.add(name=node.name, op="Placeholder")
            added.attr["dtype"].type = node.attr["dtype"].type
            added.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
        elif node.op != "NoOp":
            added = made.node.add()
            added.CopyFrom(node)
            # inputs that only order execution are left out
            data = [name for name in node.input if not name.startswith("^")]
            del added.input[:]
            added.input.extend(data)
    return made, readers


def _read_variable(variable: Any, kind: Any) -> npt.NDArray[Any]:
    return np.asarray(tf.raw_ops.ReadVariableOp(resource=variable, dtype=kind).numpy())


def _add_constant(graph: Any, name: str, value: npt.NDArray[Any]) -> None:
    added = graph.node.add(name=name, op="Const")
    tensor = tf.make_tensor_proto(value)
    added.attr["dtype"].type = tensor.dtype
    added.attr["value"].tensor.CopyFrom(tensor)
