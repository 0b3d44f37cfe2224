"""Ranges measured, int8 graphs made of them, and which layers suffer: on networks of a few nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from converters.int8.equalizer import calibrate, equalize
from converters.int8.quantizer import LIMIT, convolutions, quantize
from converters.onnx.graph import canonicalize
from tests.fakes.models.network import Network, copy, images, run

BATCH = images(16)
SAME = [1, 1, 1, 1]


def build(*, scale: bool = True, head_conv: bool = False, seed: int = 0) -> onnx.ModelProto:
    """Four convolutions with ReLU, pooling and concatenation between; scaling folded, as `prepare` leaves it."""
    network = Network(seed=seed)
    pixels = network.add("Transpose", "image", perm=[0, 3, 1, 2])
    pixels = network.add("Cast", pixels, to=TensorProto.FLOAT)
    if not scale:
        pixels = network.add("Mul", pixels, network.weight("scale", np.array(1 / 255, np.float32)))
    last = network.conv(pixels, 8, 3, out="first")
    if scale:
        network.weights["first/kernel"] /= 255
    last = network.add("MaxPool", network.add("Relu", last), kernel_shape=[2, 2], strides=[2, 2])
    both = [network.add("Relu", network.conv(last, 6, size, pads=pads)) for size, pads in ((1, [0] * 4), (3, SAME))]
    last = network.add("Concat", *both, axis=1, channels=12)
    last = network.add("Relu", network.conv(last, 8, 3, pads=SAME, out="model/head_conv" if head_conv else "last"))
    model = network.build(last)
    canonicalize(model)
    return model


def convs(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Names of the nodes by operator: QLinearConv is int8, Conv fp32."""
    kinds = ("Conv", "FusedConv", "QLinearConv", "NhwcFusedConv")
    return {kind: [node.name for node in model.graph.node if node.op_type == kind] for kind in kinds}


def quantised(model: onnx.ModelProto, folder: Path, **options: Any) -> onnx.ModelProto:
    folder.mkdir(exist_ok=True)
    return quantize(model, calibrate(model, BATCH), folder, **options)


def kernels(model: onnx.ModelProto) -> list[npt.NDArray[np.int8]]:
    """int8 weights of four axes."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8]
    return [numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) == 4]


# Ranges.


# int8.


@pytest.mark.parametrize("seed", range(3))
def test_int8_answers_nearly_as_fp32(tmp_path: Path, seed: int):
    model = build(seed=seed)
    after = copy(model)
    calibration = equalize(after, calibrate(after, BATCH))
    fresh = images(8, seed=9)
    int8 = quantize(after, calibration, tmp_path)
    exact, found = (run(one, fresh, "logits")[0] for one in (model, int8))
    assert 0 < np.max(np.abs(found - exact)) < 0.1 * np.ptp(exact)
    assert found.argmax(axis=1).tolist() == exact.argmax(axis=1).tolist()


@pytest.mark.parametrize("kept", [(), (1,), (0, 1), (1, 2, 3)])
def test_kept_convolutions_stay_fp32_and_the_others_use_all_7_bits(tmp_path: Path, kept: tuple[int, ...]):
    """Also one between two of int8, which onnxruntime would quantise by itself, with weights of 8 bits."""
    model = build()
    int8 = quantised(model, tmp_path, keep=[convolutions(model)[index] for index in kept])
    found = convs(int8)
    assert len(found["QLinearConv"]) == 4 - len(kept)
    assert len(found["Conv"] + found["FusedConv"]) == len(kept)
    assert [np.abs(kernel.astype(int)).max() for kernel in kernels(int8)] == [LIMIT] * (4 - len(kept))


# Which layers.
