"""Channels brought to like ranges: the answers stay, whatever lies between two convolutions."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from converters.int8.equalizer import calibrate, equalize
from tests.fakes.models.network import Network, copy, images, run

BATCH = images()
SAME = [1, 1, 1, 1]


def start() -> tuple[Network, str]:
    network = Network()
    return network, network.add("Relu", network.conv(network.floats(("Mul", np.float32(1 / 255))), 8, 3, out="first"))


def chain() -> onnx.ModelProto:
    network, last = start()
    return network.build(network.add("Relu", network.conv(last, 6, 3, out="second")))


def concatenated() -> onnx.ModelProto:
    network, last = start()
    both = [network.conv(last, 4, 1), network.conv(last, 6, 3, pads=SAME)]
    return network.build(network.conv(network.add("Concat", *both, axis=1, channels=10), 5, 1))


def depthwise() -> onnx.ModelProto:
    network, last = start()
    last = network.add("Relu", network.conv(last, 8, 3, group=8, pads=SAME))
    return network.build(network.conv(last, 4, 1))


def shared() -> onnx.ModelProto:
    """Two convolutions with the same weights, in places of different scales."""
    network, last = start()
    last = network.conv(last, 8, 1, out="second")
    third = network.conv(network.add("Relu", last), 8, 1, out="third")
    network.nodes[-1].input[1:] = network.nodes[-3].input[1:]
    return network.build(network.conv(third, 4, 1))


def dead() -> onnx.ModelProto:
    """A channel that is always 0."""
    network, last = start()
    network.weights["first/kernel"][2], network.weights["first/bias"][2] = 0, -1
    return network.build(network.conv(last, 4, 1))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "one after the other": chain,
    "concatenated": concatenated,
    "depthwise": depthwise,
    "with shared weights": shared,
    "with a dead channel": dead,
}


@pytest.mark.parametrize("case", NETWORKS)
def test_the_answers_stay(case: str):
    before = NETWORKS[case]()
    after = copy(before)
    equalize(after, calibrate(after, BATCH))
    onnx.checker.check_model(after)
    assert weights(after) != weights(before)
    exact = run(before, BATCH)[0]
    assert np.max(np.abs(run(after, BATCH)[0] - exact)) < 1e-4 * max(1, np.abs(exact).max())


def weights(model: onnx.ModelProto) -> dict[str, bytes]:
    return {tensor.name: tensor.raw_data for tensor in model.graph.initializer}


def test_ranges_and_means_are_those_of_all_images():
    model = chain()
    together, apart = calibrate(model, BATCH), [calibrate(model, [image]) for image in BATCH]
    for name, found in together.items():
        assert np.allclose(found.mean, np.mean([one[name].mean for one in apart], axis=0))
        assert np.array_equal(found.low, np.min([one[name].low for one in apart], axis=0))
        assert np.array_equal(found.high, np.max([one[name].high for one in apart], axis=0))
