"""Rewrites of a graph: cheaper, and the answers stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from converters.onnx.graph import prepare
from tests.fakes.models.network import Network, images, operators, run

BATCH = images()
CHANNELS = (("Mul", np.array([0.01, 0.02, 0.03], np.float32)), ("Add", np.array([-1, 0.5, -2], np.float32)))


def difference(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    return float(np.max(np.abs(run(before, BATCH)[0] - run(after, BATCH)[0])))


def test_preparing_does_all_of_it_and_the_answers_stay(tmp_path: Path) -> None:
    network = Network()
    last = network.add("Relu", network.conv(network.floats(*CHANNELS), 8, 3, out="first"))
    last = network.conv(network.add("AveragePool", last, kernel_shape=[3, 3]), 4)
    before = network.build(network.add("Transpose", last, perm=[0, 2, 3, 1]), pool="ReduceMean")
    onnx.save(before, str(tmp_path / "exported.onnx"))
    after = prepare(tmp_path / "exported.onnx", split=True)
    found = operators(after)
    assert found[:3] == ["Transpose", "Cast", "Conv"]
    assert found.count("Transpose") == 1
    assert not {"Mul", "Add", "ReduceMean"} & set(found)
    assert found.index("AveragePool") > max(index for index, op in enumerate(found) if op == "Conv")
    assert difference(before, after) < 1e-4
