"""Which convolutions int8 hurts most, found by measuring."""

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
"""Enough to tell the worst layers from the others; each layer runs them all."""


def rank(
    model: onnx.ModelProto,
    calibration: ChannelCalibration,
    images: Sequence[npt.NDArray[np.uint8]],
    progress: TrainingProgress,
    *,
    reduce_range: bool,
    out_of_time: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Convolutions by the error that rounding each alone puts into the logits.

    Args:
        model: A prepared graph.
        calibration: Measured on it.
        images: Input tensors (H, W, 3) of calibration; the first `IMAGES` count.
        progress: Told how far it is.
        reduce_range: As the quantiser will have it.
        out_of_time: Whether to measure no further layer; those of the network's beginning, often the worst, come first.

    Returns:
        names: Of the layers that were measured, worst first.
    """
    chosen = images[:IMAGES]
    exact = _logits(model, chosen)
    gains: dict[str, float] = {}
    names = convolutions(model)
    with progress.phase("Finding the sensitive layers", len(names)) as step:
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
