"""Rewrites of a graph: cheaper, and the answers stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from converters.onnx.graph import optimize, prepare
from converters.onnx.graph_rewrites import fold_scaling, pool_globally, project_before_pooling
from tests.fakes.models.network import Network, copy, images, operators, run

BATCH = images()
FACTOR = ("Mul", np.float32(1 / 127.5))
OFFSET = ("Add", np.float32(-1))
CHANNELS = (("Mul", np.array([0.01, 0.02, 0.03], np.float32)), ("Add", np.array([-1, 0.5, -2], np.float32)))
SAME = [1, 1, 1, 1]


def build(
    *steps: tuple[str, Any], bias: bool = True, again: Callable[[Network, str], str] | None = None, **conv: Any
) -> onnx.ModelProto:
    """Scaling, one convolution of 3 x 3, what `again` puts behind it, a head."""
    network = Network()
    last = network.conv(network.floats(*steps), 8, 3, bias=bias, out="first", **conv)
    last = network.add("Relu", last)
    return network.build(again(network, last) if again else last)


def difference(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    return float(np.max(np.abs(run(before, BATCH)[0] - run(after, BATCH)[0])))


FOLDED: dict[str, Callable[[], onnx.ModelProto]] = {
    "a factor and an offset": lambda: build(FACTOR, OFFSET),
    "a number for each channel": lambda: build(*CHANNELS),
    "no bias to fold it into": lambda: build(*CHANNELS, bias=False),
    "a factor alone, with padding": lambda: build(FACTOR, pads=SAME),
    "offsets that cancel out, with padding": lambda: build(OFFSET, ("Add", np.float32(1)), pads=SAME),
}


@pytest.mark.parametrize("case", FOLDED)
def test_scaling_moves_into_the_first_convolution(case: str) -> None:
    before = FOLDED[case]()
    after = copy(before)
    assert fold_scaling(after)
    assert operators(after)[:3] == ["Transpose", "Cast", "Conv"]
    assert not {"Mul", "Add"} & set(operators(after))
    assert difference(before, after) < 1e-4


def cut_off() -> onnx.ModelProto:
    network = Network()
    last = network.add("Cast", "image", to=TensorProto.FLOAT)
    last = network.add("Mul", last, network.weight("sixteenth", np.float32(1 / 16)))
    last = network.add("Cast", network.add("Cast", last, to=TensorProto.INT32), to=TensorProto.FLOAT)
    return network.build(network.conv(network.add("Transpose", last, perm=[0, 3, 1, 2]), 6, 3))


LEFT: dict[str, Callable[[], onnx.ModelProto]] = {
    "an offset, with padding": lambda: build(FACTOR, OFFSET, pads=SAME),
    "a number for each column": lambda: build(("Mul", np.linspace(0, 1, 12, dtype=np.float32).reshape(12, 1))),
    "a cast that cuts off": cut_off,
}


@pytest.mark.parametrize("case", LEFT)
def test_scaling_that_cannot_move_stays(case: str) -> None:
    """Padding is zeros of the scaled image: an offset folded away would be missing there."""
    before = LEFT[case]()
    after = copy(before)
    assert not fold_scaling(after)
    assert operators(after) == operators(before)
    assert difference(before, after) == 0


def pooled(channels: int = 4, *, kernel: int = 1, conv: Any = None, **pool: Any) -> onnx.ModelProto:
    """Average pooling and a convolution behind it."""
    network = Network()
    last = network.add("Relu", network.conv(network.floats(FACTOR), 8, 3))
    average = network.add("AveragePool", last, **{"kernel_shape": [3, 3], **pool})
    return network.build(network.add("Relu", network.conv(average, channels, kernel, **(conv or {}))))


SWAPPED: dict[str, Callable[[], onnx.ModelProto]] = {
    "plain": pooled,
    "with padding that isn't counted": lambda: pooled(pads=SAME, count_include_pad=0),
}


@pytest.mark.parametrize("case", SWAPPED)
def test_a_convolution_that_narrows_goes_before_the_pooling(case: str) -> None:
    before = SWAPPED[case]()
    after = copy(before)
    assert project_before_pooling(after) == 1
    expected = operators(before)
    place = expected.index("AveragePool")
    expected[place : place + 2] = ["Conv", "AveragePool"]
    assert operators(after) == expected
    assert difference(before, after) < 1e-4
    onnx.checker.check_model(after)


def averaged(opset: int) -> onnx.ModelProto:
    """Return a graph as Keras's models are exported: NHWC between every two operators, and the mean over it."""
    network = Network()
    last = network.add("Relu", network.conv(network.floats(FACTOR), 8, 3))
    return network.build(network.add("Transpose", last, perm=[0, 2, 3, 1]), pool="ReduceMean", opset=opset)


@pytest.mark.parametrize("opset", [17, 18])
def test_a_mean_over_pixels_becomes_a_pooling_and_its_transposes_go(tmp_path: Path, opset: int) -> None:
    before = averaged(opset)
    after = copy(before)
    pool_globally(after)
    assert difference(before, after) < 1e-4
    onnx.save(after, str(tmp_path / "after.onnx"))
    left = operators(optimize(tmp_path / "after.onnx", tmp_path / "out.onnx", "basic"))
    assert (left.count("Transpose"), left.count("GlobalAveragePool")) == (1, 1)


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
