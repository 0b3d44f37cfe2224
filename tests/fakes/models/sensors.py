"""A model that is not about images, as others might have made it: a window of sensor readings > air quality."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

STEPS, SENSORS = 4, 3
LABELS = ("fair", "good", "poor")


def build_sensor_graph(*, batch: int | str = "n", steps: int | str = STEPS) -> onnx.ModelProto:
    """window (batch, steps, 3) float32 > mean over time > `level` (batch, 3) and `index` (batch,) int64."""
    weights = np.random.default_rng(5).normal(size=(SENSORS, len(LABELS))).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["level"]),
        helper.make_node("ArgMax", ["level"], ["index"], axis=1, keepdims=0),
    ]
    make = helper.make_tensor_value_info
    outputs = [make("level", TensorProto.FLOAT, [batch, len(LABELS)]), make("index", TensorProto.INT64, [batch])]
    given = [make("window", TensorProto.FLOAT, [batch, steps, SENSORS])]
    graph = helper.make_graph(nodes, "air", given, outputs, [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_sensors(folder: Path, model: onnx.ModelProto | None = None, **declared: Any) -> Path:
    """The file, eleven samples and a declaration; returns the file."""
    (folder / "samples").mkdir(parents=True)
    random = np.random.default_rng(6)
    for number in range(11):
        window = random.normal(20, 5, size=(STEPS, SENSORS)).round(2).tolist()
        (folder / f"samples/{number:02d}.json").write_text(json.dumps({"station": "roof", "values": window}))
    onnx.save(model or build_sensor_graph(), str(folder / "air.onnx"))
    values = {"name": "air", "task": "tensor", "samples": "samples", "labels": list(LABELS), **declared}
    (folder / "model.yaml").write_text(yaml.safe_dump(values))
    return folder / "air.onnx"
