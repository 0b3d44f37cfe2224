"""Rewrites of a graph: cheaper, and the answers stay."""

from pathlib import Path
from typing import cast

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from converters.onnx.graph import is_head, prepare
from converters.onnx.graph_rewrites import multiply_at_positions
from tests.fakes.models.network import Network, images, operators, run

BATCH = images()
CHANNELS = (("Mul", np.array([0.01, 0.02, 0.03], np.float32)), ("Add", np.array([-1, 0.5, -2], np.float32)))


def difference(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    return float(np.max(np.abs(run(before, BATCH)[0] - run(after, BATCH)[0])))


def test_preparing_does_all_of_it_and_the_answers_stay(tmp_path: Path):
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


def test_another_matrix_at_each_position_is_one_multiplication():
    weights = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    given, out = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y"))
    node = helper.make_node("Einsum", ["x", "w"], ["y"], name="head_whitening/einsum", equation="abc,bcd->abd")
    graph = helper.make_graph([node], "one", [given], [out], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    multiply_at_positions(model)
    assert operators(model) == ["Transpose", "MatMul", "Transpose"]
    assert all(is_head(node.name) for node in model.graph.node)
    found = cast("list[np.ndarray]", ReferenceEvaluator(model).run(None, {"x": rows}))[0]
    np.testing.assert_allclose(found, np.einsum("bpd,pde->bpe", rows, weights), rtol=1e-5)
    node.attribute[0].s = b"abc,bdc->abd"
    turned = helper.make_model(helper.make_graph([node], "other", [given], [out]))
    multiply_at_positions(turned)
    assert operators(turned) == ["Einsum"], "another product stays"
