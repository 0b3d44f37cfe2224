"""Models that others made, with the samples that docs/model.md#convert declares: files that a reader brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image


def write_images(folder: Path, labels: list[str]) -> None:
    """Two images a label, each label of a colour of its own."""
    rng = np.random.default_rng(0)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for image in range(2):
            pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
            pixels[..., number % 3] += 180
            Image.fromarray(pixels).save(folder / label / f"{image}.png")


def build_pets(folder: Path) -> None:
    """A Keras file with a softmax."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((160, 160, 3)),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )
    model.save(folder / "pets.keras")
    write_images(folder / "samples", ["cat", "dog"])


def build_birds(folder: Path) -> None:
    """A SavedModel with a signature of its own."""
    import tensorflow as tf

    weights = tf.Variable(tf.random.stateless_normal((3, 3), seed=(1, 2)))
    module = tf.Module()
    module.weights = weights

    def classify(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.linalg.matmul(tf.reduce_mean(pictures, (1, 2)), weights)}

    taken = tf.TensorSpec((None, 224, 224, 3), tf.float32, name="pictures")
    signature = tf.function(classify).get_concrete_function(taken)
    tf.saved_model.save(module, str(folder / "exported/birds"), signatures={"classify": signature})
    (folder / "birds.txt").write_text("jay\nrobin\nwren\n")
    write_images(folder / "birds/val", ["jay", "robin", "wren"])


def build_leaves(folder: Path) -> None:
    """An ONNX file as PyTorch writes it."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input.1"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w"], ["scores"]),
    ]
    save(folder / "leaves.onnx", nodes, {"input.1": ["batch", 3, 224, 224]}, "scores", rows=3)
    write_images(folder / "val", ["healthy", "rust", "scab"])


def build_air(folder: Path) -> None:
    """An ONNX file of numbers."""
    node = helper.make_node("Gemm", ["window", "w"], ["quality"])
    save(folder / "air.onnx", [node], {"window": ["batch", 2]}, "quality", rows=2)
    (folder / "windows").mkdir()
    for number in range(3):
        (folder / f"windows/{number}.json").write_text(json.dumps([21.5 + number, 412.0]))


def save(path: Path, nodes: list[onnx.NodeProto], taken: dict[str, list[str | int]], given: str, *, rows: int) -> None:
    """Write a graph with weights `w` of `rows` x 3 as an ONNX file."""
    weights = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in taken.items()]
    outputs = [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "torch_jit", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    opset = helper.make_opsetid("", 17)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


FOREIGN_MODELS: dict[str, Callable[[Path], None]] = {
    "pets": build_pets,
    "birds": build_birds,
    "leaves": build_leaves,
    "air": build_air,
}
