"""Child process that converts to ONNX: `python -P -m converters.tensorflow_export`.

Weights above 16 KiB are written to one file beside the ONNX file, one by one, directly from TensorFlow's variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from converters.untrusted_onnx import refuse_control_flow
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.inference.child_process import run_child_main

if TYPE_CHECKING:
    from converters.tensorflow_model import WeightlessGraph

Reader = Callable[[], npt.NDArray[Any]]
COUNTED = re.compile(r"(.*)__[0-9]+((?::[0-9]+)?)")
FOLDED = (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError)
"""Errors that tf2onnx raises when an operator needs a constant, but the weight has been replaced by an input."""


def work(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Convert a SavedModel's signature or a Keras file.

    Args:
        job: Result of `ModelSource.job` with `opset` and `output`, the ONNX file to write.

    Returns:
        `warnings`: why the conversion took more memory than it should, if it did.
    """
    from converters.tensorflow_model import UnsupportedError, build_weightless_graph, open_model

    opened = open_model(job)  # the model needs a name, because its variables live only as long as it does
    function, names = opened.function, opened.names
    try:
        weightless = build_weightless_graph(function)
        proto = _to_onnx(weightless, names, job["opset"])
    except (UnsupportedError, *FOLDED) as error:
        proto = _freeze(function, names, job)
        _renumber(proto.graph)
        Path(job["output"]).write_bytes(proto.SerializeToString(deterministic=True))
        reason = f"the model was converted with its weights in the graph, which takes several times the memory: {error}"
        return [{"warnings": [reason]}]
    _write(proto, weightless, Path(job["output"]))
    return [{"warnings": []}]


def _to_onnx(weightless: WeightlessGraph, names: Mapping[str, str], opset: int) -> onnx.ModelProto:
    import tensorflow as tf
    from tf2onnx import tf_loader

    inputs, outputs = [*weightless.inputs, *weightless.weights], list(weightless.outputs)
    with tf.Graph().as_default(), tf.compat.v1.Session():
        tf.import_graph_def(weightless.graph, name="")
        graph = tf_loader.tf_optimize(inputs, outputs, weightless.graph)
    return _run_tf2onnx(graph, inputs, outputs, names, opset)


def _freeze(function: Any, names: Mapping[str, str], job: Mapping[str, Any]) -> onnx.ModelProto:
    """Convert with the weights frozen into the graph, as tf2onnx normally does; this also supports lookup tables."""
    from tf2onnx import tf_loader

    if job["route"] == "keras":
        outputs = [tensor.name for tensor in function.outputs]
        inputs = [tensor.name for tensor in function.inputs if tensor.name in names]
        graph = tf_loader.from_function(function, inputs, outputs)
        return _run_tf2onnx(graph, inputs, outputs, names, job["opset"])
    graph, inputs, outputs, tables, renamed = tf_loader.from_saved_model(
        job["model"],
        None,
        None,
        ["serve"],
        [job["signature"]],
        return_initialized_tables=True,
        return_tensors_to_rename=True,
    )
    return _run_tf2onnx(graph, inputs, outputs, renamed, job["opset"], initialized_tables=tables)


def _run_tf2onnx(
    graph: Any, inputs: list[str], outputs: list[str], names: Mapping[str, str], opset: int, **more: Any
) -> onnx.ModelProto:
    import tensorflow as tf
    from tf2onnx import convert

    with tf.device("/cpu:0"):
        # All commands and functions of tf2onnx freeze first; this function is the part that they share.
        proto: onnx.ModelProto = convert._convert_common(  # noqa: SLF001
            graph,
            name="a TensorFlow model",
            opset=opset,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=dict(names),
            **more,
        )[0]
    return proto


def _write(proto: onnx.ModelProto, weightless: WeightlessGraph, output: Path) -> None:
    """Write the ONNX file; inputs that replaced large weights become weights, with their values in a second file."""
    graph = proto.graph
    readers = _fold_transposes(graph, weightless.weights)
    fresh = _renumber(graph)
    readers = {fresh.get(name, name): read for name, read in readers.items()}
    used = [name for node in graph.node for name in node.input]
    own = [value for value in graph.input if value.name not in weightless.weights]
    with (output.parent / f"{output.name}.data").open("wb") as stream:
        for name in dict.fromkeys(name for name in used if name in readers):
            graph.initializer.append(_store(name, readers[name](), stream))
    del graph.input[:]
    graph.input.extend(own)
    output.write_bytes(proto.SerializeToString(deterministic=True))


def _fold_transposes(graph: onnx.GraphProto, weights: Mapping[str, Reader]) -> dict[str, Reader]:
    """Remove the Transpose nodes after large weights, and return functions that read the weights already transposed.

    tf2onnx orders nodes that depend on weights alone by their addresses in memory, so the file would differ each time;
    without the Transpose nodes there are no such nodes.
    """
    readers = dict(weights)
    kept = []
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights:
            (axes,) = (list(attribute.ints) for attribute in node.attribute)
            readers[node.output[0]] = partial(_transposed, weights[node.input[0]], axes)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return readers


def _renumber(graph: onnx.GraphProto) -> dict[str, str]:
    """Number the names of nodes and tensors by their order in the graph, because tf2onnx's numbers vary between runs.

    Returns:
        names: New name of each old name.
    """
    refuse_control_flow(graph)
    names: dict[str, str] = {}
    known = {value.name for value in (*graph.input, *graph.output)}

    def fresh(name: str) -> str:
        counted = None if name in known else COUNTED.fullmatch(name)
        return names.setdefault(name, f"{counted[1]}__{len(names)}{counted[2]}") if counted else name

    for node in graph.node:
        node.input[:] = [fresh(name) for name in node.input]
        node.output[:] = [fresh(name) for name in node.output]
        node.name = fresh(node.name)
    for tensor in graph.initializer:
        tensor.name = fresh(tensor.name)
    return names


def _transposed(read: Reader, axes: list[int]) -> Any:
    return np.ascontiguousarray(read().transpose(axes))


def _store(name: str, value: Any, stream: Any) -> TensorProto:
    tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    location = Path(stream.name).name
    for key, entry in (("location", location), ("offset", stream.tell()), ("length", value.nbytes)):
        tensor.external_data.add(key=key, value=str(entry))
    value.tofile(stream)
    return tensor


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.update(TELEMETRY_OFF)  # tf2onnx imports onnxruntime for some graphs
    run_child_main(work)
