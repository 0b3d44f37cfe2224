"""Measures the value range of each channel of each tensor on images, to which int8 is fitted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from eaves.onnxruntime import InferenceSession, SessionOptions

Tensor = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]


@dataclass(slots=True)
class ChannelRanges:
    """Ranges of the channels of one tensor (N, C, H, W) over all images.

    Attributes:
        low: (C,) smallest value of each channel, at most 0.
        high: (C,) largest value of each channel, at least 0.
        mean: (C,) mean value of each channel.
    """

    low: Values
    high: Values
    mean: Values

    @property
    def peak(self) -> Values:
        """Largest magnitude of each channel, (C,)."""
        return np.maximum(-self.low, self.high)

    def scaled(self, scale: Values) -> ChannelRanges:
        """Return the ranges of the channels after each channel's values are divided by its number in `scale`, (C,)."""
        return ChannelRanges(self.low / scale, self.high / scale, self.mean / scale)


@dataclass(slots=True)
class ChannelCalibration:
    """Value ranges of the channels of every tensor that int8 may quantise, and the number of measured images."""

    channels: dict[str, ChannelRanges] = field(default_factory=dict)
    images: int = 0

    def add(self, tensors: dict[str, npt.NDArray[Any]]) -> None:
        """Extend the ranges by the values of one image's tensors."""
        for name, value in tensors.items():
            if value.ndim != 4:
                continue
            low, high = value.min(axis=(0, 2, 3)).astype(np.float64), value.max(axis=(0, 2, 3)).astype(np.float64)
            mean = value.mean(axis=(0, 2, 3), dtype=np.float64)
            found = ChannelRanges(np.minimum(low, 0), np.maximum(high, 0), mean)
            old = self.channels.get(name)
            if old is not None:
                found.low, found.high = np.minimum(old.low, found.low), np.maximum(old.high, found.high)
                found.mean = old.mean + (found.mean - old.mean) / (self.images + 1)
            self.channels[name] = found
        self.images += 1


def calibrate(model: onnx.ModelProto, images: Iterable[Tensor]) -> ChannelCalibration:
    """Run a prepared graph over images and measure every tensor.

    Args:
        model: Graph from `graph_preparation`.
        images: Input tensors, (H, W, 3) uint8.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    results = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name not in results]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # several threads would sum in another order each time
    session = InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    del watched
    calibration = ChannelCalibration()
    for image in images:
        calibration.add(dict(zip(names, session.run(names, {"image": image[np.newaxis]}), strict=True)))
    return calibration
