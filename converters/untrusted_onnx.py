"""Loads a foreign ONNX file, and checks it before anything else reads it."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import inliner

from converters.settings import OPSET
from eaves.errors import ConversionError

MAX_BYTES = 2**31 - 1
"""Maximum size of a model in bytes. Source: protobuf.dev, "Proto Limits": a message is smaller than 2 GiB, and a graph
is one message."""
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
CONTROL_FLOW = ("If", "Loop", "Scan")


def load_foreign(path: Path) -> onnx.ModelProto:
    """Load an ONNX file with its weights, without local functions.

    Raises:
        ConversionError: The file is too large, is broken, points outside its folder, or needs operators that a standard
            onnxruntime doesn't have.
    """
    total = sum(file.stat().st_size for file in (path, *external_files(path)))
    if total > MAX_BYTES:
        raise _too_large(path, total)
    try:
        model = onnx.load(str(path))
        if model.functions:
            model = inliner.inline_local_functions(model)
        # Source: onnx, onnx.proto, enum Version: before version 4, initializers are a subset of the graph's inputs.
        weights = {tensor.name for tensor in model.graph.initializer}
        own = [value for value in model.graph.input if value.name not in weights]
        if not own and model.graph.input:
            raise ConversionError(
                f"{path.name} takes no images and no numbers: all of its inputs are weights",
                hint="export the model again, with its input left free",
            )
        del model.graph.input[:]
        model.graph.input.extend(own)
        model.ir_version = max(model.ir_version, 4)
        onnx.checker.check_model(model)
    except ConversionError:
        raise
    except Exception as error:  # protobuf and onnx raise their own exceptions, which have no common base class
        raise ConversionError(f"{path.name} is not a valid ONNX model: {str(error)[:300]}") from error
    strange = sorted({f"{node.domain}:{node.op_type}" for node in model.graph.node if node.domain not in DOMAINS})
    if strange:
        raise ConversionError(
            f"the model uses operators that onnxruntime does not have on edge nodes: {', '.join(strange[:5])}",
            hint="export the model without custom operators",
        )
    refuse_control_flow(model.graph)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [item for item in model.opset_import if (item.domain if item.domain != "ai.onnx" else "") in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    if not any(item.domain in {"", "ai.onnx"} for item in model.opset_import):
        model.opset_import.add(version=OPSET)  # all its operators are of ai.onnx.ml
    return model


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold its weights.

    Raises:
        ConversionError: The file can't be read, or one of the weights' files is not in its folder.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own exceptions
        raise ConversionError(f"{path.name} is not an ONNX model: {str(error)[:300]}") from error
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute]
    locations = {
        entry.value
        for tensor in (*model.graph.initializer, *constants)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    folder = path.parent.resolve()
    for location in sorted(locations):
        target = (folder / location).resolve()
        if not target.is_relative_to(folder):
            raise ConversionError(
                f"{path.name} keeps weights outside its own folder ({location})",
                hint="save the model again with `onnx.save(..., save_as_external_data=True)`, or in one file",
            )
        if not target.is_file():
            raise ConversionError(
                f"{path.name} keeps weights in {location}, which does not exist", hint="copy that file too"
            )
    return tuple(path.parent / location for location in sorted(locations))


def _too_large(path: Path, size_bytes: int) -> ConversionError:
    return ConversionError(
        f"{path.name} has {size_bytes / 1000000000.0:.1f} GB of weights; at most {MAX_BYTES / 1000000000.0:.1f} "
        "GB are supported"
    )


def refuse_control_flow(graph: onnx.GraphProto) -> None:
    """Refuse control flow, because weights and names are handled in the main graph only.

    Raises:
        ConversionError: The graph branches or loops.
    """
    control = sorted({node.op_type for node in graph.node if node.op_type in CONTROL_FLOW})
    if control:
        raise ConversionError(
            f"the model has branches or loops ({', '.join(control)}), which are not supported",
            hint="export the model by tracing instead of scripting, or simplify it",
        )
