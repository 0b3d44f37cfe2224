"""Ranks convolutions by the measured error that int8 in only one of them causes in the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from converters.int8.calibration import ChannelCalibration
from converters.int8.quantizer import convolutions, fake_quantize
from eaves.onnxruntime import InferenceSession, SessionOptions
from trainer.progress import TrainingProgress

IMAGES = 6
"""Number of images on which the error of each layer is measured; so few suffice to find the worst layers."""


def rank(
    model: onnx.ModelProto,
    calibration: ChannelCalibration,
    images: Sequence[npt.NDArray[np.uint8]],
    progress: TrainingProgress,
    *,
    reduce_range: bool,
    out_of_time: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Rank convolutions by the error of the logits when only one of them is rounded.

    Args:
        model: Prepared graph.
        calibration: Calibration of the graph.
        images: Input tensors of calibration, (H, W, 3) uint8; the first `IMAGES` are used.
        progress: Receives one step for each layer.
        reduce_range: Whether weights have 7 bits.
        out_of_time: Function that returns whether to stop measuring; the first layers of the network, which often cause
            the largest errors, are measured first.

    Returns:
        names: Names of the measured layers, the worst first.
    """
    chosen = images[:IMAGES]
    exact = _logits(model, chosen)
    gains: dict[str, float] = {}
    names = convolutions(model)
    with progress.phase("Measuring the layers' sensitivity to int8", len(names)) as step:
        for name in names:
            if out_of_time():
                break
            rounded = _logits(fake_quantize(model, calibration, name, reduce_range=reduce_range), chosen)
            gains[name] = float(np.mean((rounded - exact) ** 2))
            step()
    return sorted(gains, key=lambda name: (-gains[name], name))


def _logits(model: onnx.ModelProto, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    options = SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"image": image[np.newaxis]})[0] for image in images])
