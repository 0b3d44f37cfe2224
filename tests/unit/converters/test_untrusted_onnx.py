"""Files of IR version 3, in which weights are inputs too, against onnxruntime on the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.untrusted_onnx import load_foreign, opset_of
from eaves.errors import ConversionError
from eaves.onnxruntime import InferenceSession

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def build(opset: int, *, takes_images: bool = True) -> onnx.ModelProto:
    """A small network as exporters wrote it before 2019; without images, a weight takes their place."""
    rng = np.random.default_rng(1)
    weights: dict[str, Any] = {
        "conv": rng.normal(size=(4, 3, 3, 3)),
        "scale": rng.normal(size=4),
        "bias": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "variance": rng.uniform(1, 2, size=4),
        "fc": rng.normal(size=(5, 4)),
        "fc_bias": rng.normal(size=5),
        **({} if takes_images else {"data": IMAGES}),
    }
    nodes = [
        helper.make_node("Conv", ["data", "conv"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "scale", "bias", "mean", "variance"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Dropout", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "fc", "fc_bias"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["prob"], axis=1),
    ]
    listed = list(weights) if not takes_images else [*list(weights)[:2], "data", *list(weights)[2:]]
    shapes: dict[str, Any] = {"data": IMAGES.shape, **{name: value.shape for name, value in weights.items()}}
    graph = helper.make_graph(
        nodes,
        "zoo",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in listed],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, [len(IMAGES), 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


def answer(model: onnx.ModelProto) -> Any:
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["prob"], {"data": IMAGES})[0]


@pytest.mark.parametrize("opset", [7, 12, 17])
def test_a_file_of_ir_version_3_keeps_its_input_and_answers_the_same(opset: int, tmp_path: Path) -> None:
    onnx.save(build(opset), str(tmp_path / "zoo.onnx"))
    model, _ = load_foreign(tmp_path / "zoo.onnx", opset=17)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["data"]
    assert (model.ir_version, opset_of(model)) == (4, 17)
    assert np.allclose(answer(model), answer(onnx.load(str(tmp_path / "zoo.onnx"))), atol=1e-6)


def test_a_file_whose_inputs_are_all_weights_is_refused(tmp_path: Path) -> None:
    onnx.save(build(9, takes_images=False), str(tmp_path / "zoo.onnx"))
    with pytest.raises(ConversionError, match=r"zoo\.onnx takes no images .*: all of its inputs are weights"):
        load_foreign(tmp_path / "zoo.onnx", opset=17)


def test_the_hint_never_names_the_operator_set_that_was_asked_for(tmp_path: Path) -> None:
    """ONNX's converter doesn't raise a Gemm of operator set 6 when the number of images is free."""
    model = build(6)
    data = next(value for value in model.graph.input if value.name == "data")
    data.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, str(tmp_path / "zoo.onnx"))
    for opset, more in ((17, ", or set convert.opset to 13"), (13, "")):
        with pytest.raises(ConversionError, match=f"the operator set 6 can't be converted to {opset}") as caught:
            load_foreign(tmp_path / "zoo.onnx", opset=opset)
        assert caught.value.message.endswith("Dimension is a param instead of an int.")
        assert caught.value.hint == f"export the model again with operator set {opset}{more}"


def test_a_model_without_any_of_onnx_s_own_operators_needs_no_conversion(tmp_path: Path) -> None:
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    graph = helper.make_graph([node], "iris", [x], [y])
    ours = [helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=ours, ir_version=3), str(tmp_path / "iris.onnx"))
    model, said = load_foreign(tmp_path / "iris.onnx", opset=17)
    assert (opset_of(model), said) == (17, ())
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(["y"], {"x": np.array([[2, 3]], np.float32)})[0].tolist() == [[2, 4]]
