"""What happens to a graph between tf2onnx and the file, on graphs of a few nodes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters import tensorflow_export

KERNEL = np.arange(3 * 3 * 3 * 8, dtype=np.float32).reshape(3, 3, 3, 8)


def build(counter: int) -> onnx.ModelProto:
    """Return a convolution as tf2onnx writes it with the kernel as an input, with names from a counter."""
    kernel, axes, small = f"net/head/conv__{counter}:0", f"axes__{counter + 3}", f"const_fold_opt__{counter + 9}"
    nodes = [
        helper.make_node("Transpose", ["net/head/Read:0"], [kernel], f"conv__{counter}", perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["x__1", kernel], ["c"], "conv", kernel_shape=[3, 3]),
        helper.make_node("Add", ["c", small], [f"sum__{counter + 1}:0"], f"sum__{counter + 1}"),
        helper.make_node("Squeeze", [f"sum__{counter + 1}:0", axes], ["y"], f"squeeze__{counter + 2}"),
    ]
    shapes: dict[str, list[str | int | None]] = {"x__1": ["n", 3, 3, 3], "net/head/Read:0": [3, 3, 3, 8]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    constants = [
        numpy_helper.from_array(np.array([2, 3], np.int64), axes),
        numpy_helper.from_array(np.ones((1, 8, 1, 1), np.float32), small),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(counter: int, folder: Path) -> onnx.ModelProto:
    folder.mkdir()
    skeleton: Any = SimpleNamespace(weights={"net/head/Read:0": lambda: KERNEL})
    tensorflow_export._write(build(counter), skeleton, folder / "a.onnx")
    return onnx.load(str(folder / "a.onnx"))


def test_a_kernel_is_stored_beside_the_graph_in_onnxs_order_of_axes(tmp_path: Path) -> None:
    model = write(7, tmp_path / "a")
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["x__1"]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Add", "Squeeze"]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    name = model.graph.node[0].input[1]
    assert name.startswith("net/head/conv")  # the layer's name stays: weights are split by it
    assert np.array_equal(stored[name], KERNEL.transpose(3, 2, 0, 1))
    assert (tmp_path / "a/a.onnx.data").stat().st_size == KERNEL.nbytes


def test_a_counter_does_not_reach_the_bytes(tmp_path: Path) -> None:
    write(7, tmp_path / "a")
    write(1400, tmp_path / "b")
    for name in ("a.onnx", "a.onnx.data"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
