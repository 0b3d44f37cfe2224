"""Writes frames of a thermal camera, and an ONNX model that finds the strongest colour of an image.

It writes frames/*.raw (64 little-endian 16-bit values in hundredths of a kelvin), model/thermal.onnx, model/samples/
and model/model.yaml.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 8
KELVIN = {"blue": 275, "green": 323, "red": 370}
"""Colour into which the handler turns a frame, and the temperature of such a frame in kelvin."""


def build_model() -> onnx.ModelProto:
    """Build an ONNX model whose logits are the mean of each colour of an image, scaled.

    Its input is uint8 (N, SIDE, SIDE, 3), RGB. Its outputs are logits and probabilities (N, 3) in the order blue,
    green, red.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gather", ["mean", "order"], ["colours"], axis=1),
        helper.make_node("Div", ["colours", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "thermal",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("logits", "probabilities")],
        [
            helper.make_tensor("order", TensorProto.INT64, [3], [2, 1, 0]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [25.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


samples = Path("model/samples")
Path("frames").mkdir(exist_ok=True)
for label, kelvin in KELVIN.items():
    frame = np.full((SIDE, SIDE), kelvin * 100, "<u2").tobytes()
    (samples / label).mkdir(parents=True, exist_ok=True)
    for path in (Path(f"frames/{label}.raw"), samples / label / "0.raw"):
        path.write_bytes(frame)
onnx.save(build_model(), "model/thermal.onnx")
Path("model/model.yaml").write_text(
    f"name: thermal\nlabels: [{', '.join(KELVIN)}]\nheight: {SIDE}\nwidth: {SIDE}\nsamples: samples\n"
)
