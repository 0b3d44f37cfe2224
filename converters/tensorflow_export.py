"""Converts TensorFlow models to ONNX, in the child process `converters.reference_process`.

tf2onnx converts the operators. Its optimizers don't run: onnxruntime's, which run afterwards on every graph, do the
same in a third of the memory. Names and order in the file vary from run to run, and
`converters.onnx.graph.canonicalize` gives the prepared graph its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.untrusted_onnx import refuse_control_flow
from eaves.errors import ConversionError

SAVED_MODEL = "saved_model"
"""Folder beside the ONNX file that a Keras file is exported to. The answers of the SavedModel in it are the truth."""


def export_tensorflow(job: Mapping[str, Any]) -> tuple[Any, Any]:
    """Convert a SavedModel's signature or a Keras file, and return what `open_signature` opened.

    Args:
        job: Result of `ModelSource.job` with `opset` and `exported`, the ONNX file to write.

    Raises:
        ConversionError: The model can't be opened, has not exactly one input, or branches or loops.
    """
    import tensorflow as tf
    from tf2onnx import tf_loader
    from tf2onnx.tf_utils import compress_graph_def
    from tf2onnx.tfonnx import process_tf_graph

    output = Path(job["exported"])
    if job["route"] == "keras":
        _export_keras(job["model"], output.with_name(SAVED_MODEL))
        job = {**job, "model": str(output.with_name(SAVED_MODEL))}
    function, loaded = open_signature(job)
    captured = {tensor.name for tensor in function.graph.internal_captures}
    inputs = [tensor.name for tensor in function.inputs if tensor.name not in captured]
    outputs = [tensor.name for tensor in function.outputs]
    named = [*function.structured_input_signature[1], *sorted(function.structured_outputs)]
    # With `large_model`, weights are kept apart and copied once, and not by each step.
    frozen, tables = tf_loader.from_trackable(loaded, function, inputs, outputs, large_model=True)
    weights = compress_graph_def(frozen)
    with tf.device("/cpu:0"), tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = process_tf_graph(
            graph,
            const_node_values=weights,
            opset=job["opset"],
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=dict(zip([*inputs, *outputs], named, strict=True)),
            initialized_tables=tables,
        )
    model = converted.make_model("a TensorFlow model")
    refuse_control_flow(model.graph)
    output.write_bytes(model.SerializeToString(deterministic=True))
    return function, loaded


def open_signature(job: Mapping[str, Any]) -> tuple[Any, Any]:
    """Load a SavedModel; return the function of its signature, and the loaded object, which keeps its variables alive.

    Args:
        job: Result of `ModelSource.job`.

    Raises:
        ConversionError: The signature doesn't exist, or doesn't take exactly one input.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(job["model"], tags=["serve"])
    if job["signature"] not in loaded.signatures:
        found = ", ".join(sorted(loaded.signatures)) or "none"
        raise ConversionError(
            f"the SavedModel has no signature {job['signature']}; it has {found}",
            hint="declare an existing one as `signature`, or save the model again with a signature",
        )
    function = loaded.signatures[job["signature"]]
    names = list(function.structured_input_signature[1])
    if len(names) != 1:
        raise ConversionError(f"the model must have one input, the images; it has {', '.join(names) or 'none'}")
    return function, loaded


def _export_keras(file: str, folder: Path) -> None:
    """Export a Keras file to a SavedModel.

    Raises:
        ConversionError: Keras can't open the file without running code in it, or can't export it.
    """
    import keras

    try:
        keras.saving.load_model(file, compile=False, safe_mode=True).export(str(folder), verbose=False)
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
