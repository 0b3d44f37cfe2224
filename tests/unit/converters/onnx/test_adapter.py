"""Foreign graphs of a few nodes between our interface, against the same in NumPy; and those that are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.declaration import Interface
from converters.onnx.adapter import adapt
from converters.proof import read_outputs
from converters.reference_process import build_input
from converters.untrusted_onnx import external_files, load_foreign
from eaves.errors import ConversionError
from eaves.inference.session import Session
from eaves.recipe import Recipe

RECIPE = Recipe(height=4, width=6)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)


def build(
    *,
    kind: int = TensorProto.FLOAT,
    shape: tuple[Any, ...] = ("n", 4, 6, 3),
    outputs: tuple[str, ...] = ("y",),
    classes: int = 5,
    opset: int = 17,
    activation: str = "Identity",
    domain: str = "",
) -> onnx.ModelProto:
    """input `x` > flat > times a matrix (> an activation) > the first output; its second is the flat input."""
    weights = np.random.default_rng(1).normal(size=(72, classes)).astype(np.float32) / 500
    float_x = "x" if kind == TensorProto.FLOAT else "float_x"
    nodes = [] if float_x == "x" else [helper.make_node("Cast", ["x"], [float_x], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Flatten", [float_x], ["logits"]), helper.make_node("MatMul", ["logits", "w"], ["m"])]
    nodes.append(helper.make_node(activation, ["m"], [outputs[0]], domain=domain))
    if len(outputs) > 1:
        nodes.append(helper.make_node("Identity", ["logits"], [outputs[1]]))
    sizes = (classes, 72)
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", kind, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], size])
            for name, size in zip(outputs, sizes, strict=False)
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def expected(model: onnx.ModelProto, interface: Interface, dtype: Any, folder: Path) -> tuple[Any, Any]:
    """The original, fed and read by NumPy."""
    from eaves.inference.onnxruntime import InferenceSession

    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, {"x": build_input(image, interface, dtype)}) for image in IMAGES]
    answers = [
        read_outputs({name: value[0] for name, value in zip(names, row, strict=True)}, interface) for row in rows
    ]
    logits, probabilities = (np.asarray([one[name] for one in answers]) for name in ("logits", "probabilities"))
    return logits, probabilities


@pytest.mark.parametrize(
    ("interface", "changes"),
    [
        (Interface(logits="y"), {}),
        (
            Interface(logits="y", multiply=(0.1, 0.2, 0.3), add=(-1.0, 0.0, 2.0), layout="NCHW"),
            {"shape": ("n", 3, 4, 6)},
        ),
        (Interface(logits="y", add=(-1.0, -2.0, -3.0), channels="BGR", layout="NCHW"), {"shape": ("n", 3, 4, 6)}),
        (Interface(logits="y", multiply=(1 / 255,)), {"kind": TensorProto.FLOAT16}),
        (Interface(probabilities="y", multiply=(1 / 255,)), {"activation": "Softmax"}),
        (Interface(logits="image", input="x"), {"outputs": ("image",)}),
        # one probability is that of the second of two labels, as of every tutorial's `Dense(1, activation="sigmoid")`
        (Interface(probabilities="y"), {"classes": 1, "activation": "Sigmoid"}),
    ],
)
def test_it_answers_what_numpy_makes_of_the_original(interface: Interface, changes: dict[str, Any], tmp_path: Path):
    model = build(**changes)
    dtype = helper.tensor_dtype_to_np_dtype(changes.get("kind", TensorProto.FLOAT))
    logits, probabilities = expected(model, interface, dtype, tmp_path)
    adapt(model, interface, RECIPE, 5 if changes.get("classes") is None else 2)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(tmp_path / "model.onnx"))
    outputs = Session(tmp_path / "model.onnx").answer(IMAGES)
    found, likely = outputs["logits"], outputs["probabilities"]
    assert np.allclose(found, logits, atol=1e-4)
    assert np.allclose(likely, probabilities, atol=1e-5)
    assert np.allclose(likely.sum(axis=1), 1)
    assert np.ptp(logits) > 0.01


@pytest.mark.parametrize(
    ("interface", "changes", "classes", "message"),
    [
        (Interface(logits="y"), {}, 4, r"output y has the shape \(\?, 5\), but the declaration has 4 labels"),
        (
            Interface(logits="y", layout="NCHW"),
            {},
            5,
            r"shape \(\?, 4, 6, 3\), but the declaration says \(batch, 3, 4, 6\)",
        ),
        (Interface(logits="y"), {"kind": TensorProto.INT64}, 5, "has the type TensorProto.INT64"),
        (
            Interface(logits="y", add=(1.0,)),
            {"kind": TensorProto.UINT8},
            5,
            "input is uint8, so the model scales pixels itself",
        ),
    ],
)
def test_what_is_not_as_declared_is_refused(interface: Interface, changes: dict[str, Any], classes: int, message: str):
    with pytest.raises(ConversionError, match=message):
        adapt(build(**changes), interface, RECIPE, classes)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_operators_of_others_are_refused(tmp_path: Path):
    with pytest.raises(ConversionError, match=r"on edge nodes: my\.domain:Identity"):
        load_foreign(save(build(domain="my.domain"), tmp_path / "a.onnx"))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str):
    (tmp_path / "secret.bin").write_bytes(bytes(72 * 5 * 4))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = build()
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(ConversionError, match="weights outside its own folder"):
        external_files(save(model, folder / "a.onnx"))
