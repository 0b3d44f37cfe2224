"""The colour model as a real ONNX graph, for what needs onnxruntime but no training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eaves.artifact import Artifact, write_artifact
from eaves.artifact.store import MODEL
from tests.fakes.models.artifact import build_manifest, fill

WEIGHTS = np.eye(3, dtype=np.float32)[::-1] / np.float32(25)
"""(3 colours, 3 labels): as `ColourSession`, the order reversed."""


def build_graph(*, location: str = "weights/backbone.bin", scale: float = 1.0) -> onnx.ModelProto:
    """uint8 image (batch, 8, 8, 3) > mean of each colour > logits, probabilities.

    Args:
        location: Location of the weights relative to the graph.
        scale: Factor on the weights that are stored in the graph itself (`location` empty).
    """
    weights = numpy_helper.from_array(np.ascontiguousarray(WEIGHTS * np.float32(scale)), "weights")
    if location:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": str(WEIGHTS.nbytes)}.items():
            weights.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("logits", "probabilities")],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a graph as it is: external data is neither read nor written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_graph_artifact(
    target: Path, *, change: Callable[[Path], object] = lambda staging: None, **manifest: object
) -> Artifact:
    """An artifact of the colour model that onnxruntime opens.

    Args:
        target: Its directory.
        change: Called with the staging directory before the manifest is made of it.
        **manifest: Fields that differ.
    """
    staging = fill(target.parent / f".{target.name}.staging")
    save(build_graph(), staging / MODEL)
    (staging / "weights/backbone.bin").write_bytes(WEIGHTS.tobytes())
    change(staging)
    return write_artifact(staging, target, build_manifest(staging, **manifest))
