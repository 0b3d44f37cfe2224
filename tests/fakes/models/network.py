"""Small convolutional networks as ONNX graphs, grown node by node, for what rewrites and quantises them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

Floats = npt.NDArray[np.float32]
SIDE, LABELS = 12, 3


class Network:
    """A graph that takes `image` uint8 (batch, side, side, 3) and gives `logits` and `probabilities`.

    Attributes:
        nodes: In their order.
        weights: Weights by name.
        channels: How many each tensor has.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, npt.NDArray[Any]] = {}
        self.channels = {"image": 3}

    def weight(self, name: str, value: npt.NDArray[Any] | np.float32) -> str:
        """Add a weight; returns its name."""
        self.weights[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, out: str = "", channels: int = 0, **attributes: Any) -> str:
        """Add a node; returns its result's name."""
        out = out or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"n_{out}", **attributes))
        self.channels[out] = channels or self.channels[inputs[0]]
        return out

    def floats(self, *steps: tuple[str, npt.NDArray[np.float32] | np.float32]) -> str:
        """The image as floats in NCHW, after operators with constants."""
        last = self.add("Cast", "image", to=TensorProto.FLOAT)
        for number, (op, value) in enumerate(steps):
            last = self.add(op, last, self.weight(f"scale{number}", value))
        return self.add("Transpose", last, perm=[0, 3, 1, 2])

    def conv(
        self, source: str, channels: int, kernel: int = 1, *, bias: bool = True, out: str = "", **attributes: Any
    ) -> str:
        """Add a convolution with random weights, every output channel of another size; returns its result's name."""
        name = out or f"conv{len(self.nodes)}"
        wide = self.channels[source] // attributes.get("group", 1)
        values = self.random.normal(size=(channels, wide, kernel, kernel)) / (wide * kernel * kernel) ** 0.5
        values *= np.exp(self.random.normal(size=(channels, 1, 1, 1)))
        inputs = [source, self.weight(f"{name}/kernel", values.astype(np.float32))]
        if bias:
            inputs.append(self.weight(f"{name}/bias", self.random.normal(size=channels).astype(np.float32)))
        return self.add("Conv", *inputs, out=name, channels=channels, kernel_shape=[kernel, kernel], **attributes)

    def build(
        self, last: str, *, pool: str = "GlobalAveragePool", more: tuple[str, ...] = (), opset: int = 17
    ) -> onnx.ModelProto:
        """End in a head of `LABELS` labels.

        Args:
            last: (N, C, H, W), or (N, H, W, C) of a ReduceMean.
            pool: What makes features of it.
            more: Names of tensors that are results too.
            opset: Operator set.
        """
        if pool == "ReduceMean":
            if opset < 18:
                flat = self.add("ReduceMean", last, axes=[1, 2], keepdims=0)
            else:
                flat = self.add("ReduceMean", last, self.weight("axes", np.array([1, 2], np.int64)), keepdims=0)
        else:
            flat = self.add("Flatten", self.add(pool, last))
        values = self.random.normal(size=(self.channels[last], LABELS)).astype(np.float32)
        bias = self.random.normal(size=LABELS).astype(np.float32)
        inputs = (flat, self.weight("model/head/kernel", values), self.weight("model/head/bias", bias))
        self.add("Gemm", *inputs, out="logits")
        self.add("Softmax", "logits", out="probabilities", axis=-1)
        shape: list[str | int | None] = ["batch", SIDE, SIDE, 3]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", LABELS]) for name in OUTPUTS]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
            outputs + [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in more],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


OUTPUTS = ("logits", "probabilities")


def images(count: int = 4, *, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Noise, (count, SIDE, SIDE, 3): each image of another brightness."""
    random = np.random.default_rng(seed)
    bright = random.integers(40, 256, (count, 1, 1, 3))
    return (random.integers(0, 256, (count, SIDE, SIDE, 3)) * bright // 255).astype(np.uint8)


def run(model: onnx.ModelProto, batch: npt.NDArray[np.uint8], *names: str) -> list[Floats]:
    """What a graph as it stands answers: without any optimisation."""
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers: list[Floats] = session.run(list(names or ("logits",)), {"image": batch})
    return answers


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """One to change."""
    fresh = onnx.ModelProto()
    fresh.CopyFrom(model)
    return fresh


def operators(model: onnx.ModelProto) -> list[str]:
    """The nodes' operators in their order."""
    return [node.op_type for node in model.graph.node]
