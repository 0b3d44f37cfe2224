"""Runs onnxruntime's graph optimisation during the conversion, so that a function needn't run it at each start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx

from eaves.errors import ConversionError
from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

Level = Literal["basic", "extended", "all"]
LAYOUT_OPTIMISERS = ("NchwcTransformer",)
"""Optimizers that make a graph for one instruction set: they store the weights in blocks as wide as this CPU's vectors.

Source: onnxruntime, core/optimizer/nchwc_transformer.cc.
"""

REQUANTISERS = ("WeightBiasQuantization",)
"""Optimizers that quantise an fp32 convolution between two int8 ones, always with 8-bit weights.

Source: onnxruntime, core/optimizer/qdq_transformer/weight_bias_quantization.cc.
"""


def optimize(model: Path, output: Path, level: Level, *, portable: bool = True) -> onnx.ModelProto:
    """Optimise a graph and read the result.

    Args:
        model: Path of the ONNX file.
        output: File to write, with the weights inside.
        level: Level of optimisation. `basic`: folds constants and batch normalisation and uses only ONNX's operators;
            `extended`: also fuses operators to those of onnxruntime; `all`: also changes the layout.
        portable: Whether to leave out optimisations that only this CPU's instruction set could run.

    Raises:
        ConversionError: The graph is refused by onnxruntime.
    """
    levels = GraphOptimizationLevel
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = {
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[level]
    options.optimized_model_filepath = str(output)
    try:
        InferenceSession(
            str(model),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[*REQUANTISERS, *(LAYOUT_OPTIMISERS if portable else ())],
        )
    except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
        raise ConversionError(
            f"onnxruntime can't run the exported graph: {str(error)[:300]}", hint="set another convert.opset"
        ) from error
    return onnx.load(str(output))
