"""The exported graph made ready, on graphs of three nodes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.onnx.graph import (
    HEAD,
    WEIGHTS,
    canonicalize,
    write_graph,
)


def build_model(*, head: str = "model/head_1/MatMul") -> onnx.ModelProto:
    """image (batch, 4, 4, 3) > flat > backbone > head > logits, probabilities; weights as raw bytes and as lists."""
    rng = np.random.default_rng(0)
    backbone = rng.normal(size=(48, 32)).astype(np.float32)
    weights = rng.normal(size=(32, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "model/conv/kernel"], ["features"]),
        helper.make_node("MatMul", ["features", head], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tf2onnx__12",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["unk__7", 4, 4, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["unk__7", 10]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["unk__71", 10]),
        ],
        [
            numpy_helper.from_array(np.array([-1, 48], np.int64), "shape"),
            numpy_helper.from_array(backbone, "model/conv/kernel"),
            helper.make_tensor(head, TensorProto.FLOAT, weights.shape, weights.flatten().tolist()),
        ],
        doc_string="made at noon",
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string="converted")


def write(folder: Path, model: onnx.ModelProto, *, split: bool = True) -> Path:
    """`folder`/model.onnx, as a conversion leaves it; the model itself stays as it is."""
    folder.mkdir(parents=True)
    canonical = onnx.ModelProto()
    canonical.CopyFrom(model)
    canonicalize(canonical)
    write_graph(canonical, folder / "model.onnx", split=split)
    return folder / "model.onnx"


def load(path: Path) -> onnx.GraphProto:
    """The graph alone, without what lies beside it."""
    return onnx.load(str(path), load_external_data=False).graph


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_heads_small_weights_leave_the_graph_too(tmp_path: Path):
    """Bias and temperature: 40 bytes each, but inline they would make every head's graph another one."""
    for folder, value in (("a", 1.0), ("b", 2.0)):
        model = build_model()
        temperature = np.full(10, value, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(temperature, "model/head_temperature/mul"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 10], np.int64), "model/head/shape"))
        model.graph.node[-1].input[0] = "shaped"
        model.graph.node.insert(3, helper.make_node("Mul", ["logits", "model/head_temperature/mul"], ["scaled"]))
        model.graph.node.insert(4, helper.make_node("Reshape", ["scaled", "model/head/shape"], ["shaped"]))
        write(tmp_path / folder, model)
    first, second = content(tmp_path / "a"), content(tmp_path / "b")
    assert [name for name in first if first[name] != second[name]] == [f"{WEIGHTS}/{HEAD}"]
    graph = load(tmp_path / "a/model.onnx")
    inline = {tensor.name for tensor in graph.initializer if tensor.data_location != TensorProto.EXTERNAL}
    assert inline == {"backbone/0000", "head/0004"}


@pytest.mark.parametrize("seed", range(5))
def test_neither_the_order_nor_the_names_of_nodes_and_weights_reach_the_bytes(tmp_path: Path, seed: int):
    """The head's layer is recognised by its name, so that one may only be numbered otherwise."""
    rng = np.random.default_rng(seed)
    other = build_model(head=f"model/head_{seed}/kernel")
    names = {name: f"x{rng.integers(1 << 30)}" for name in ("shape", "flat", "model/conv/kernel", "features")}
    for node in other.graph.node:
        node.name = f"n{rng.integers(1 << 30)}"
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in other.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for items in (other.graph.node, other.graph.initializer):
        shuffled = [items[index] for index in rng.permutation(len(items))]
        copies = [type(item).FromString(item.SerializeToString()) for item in shuffled]
        del items[:]
        items.extend(copies)
    other.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    other.producer_name, other.producer_version = "another", "7"
    other.metadata_props.add(key="made", value="at noon")
    write(tmp_path / "a", build_model())
    write(tmp_path / "b", other)
    assert content(tmp_path / "a") == content(tmp_path / "b")
