"""onnxruntime's graph optimisation, done once here instead of at each start of a function."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx

from eaves.errors import ConversionError
from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

Level = Literal["basic", "extended", "all"]
LAYOUT_OPTIMISERS = ("NchwcTransformer",)
"""What makes a graph fit one instruction set only: it stores the weights in blocks as wide as this CPU's vectors.

Source: onnxruntime, core/optimizer/nchwc_transformer.cc."""

REQUANTISERS = ("WeightBiasQuantization",)
"""What makes int8 of a convolution that was left in fp32 between two of int8, and with weights of 8 bits whatever was
asked for.

Source: onnxruntime, core/optimizer/qdq_transformer/weight_bias_quantization.cc."""


def optimize(model: Path, output: Path, level: Level, *, portable: bool = True) -> onnx.ModelProto:
    """Optimise a graph and read the result.

    Args:
        model: ONNX file.
        output: File to write, weights inside.
        level: `basic`: folding of constants and batch normalisation, no operator that ONNX doesn't have; `extended`:
            fused operators of onnxruntime's own; `all`: changes of layout too.
        portable: Leave out what only this CPU's instruction set could run.

    Raises:
        ConversionError: When onnxruntime refuses the graph.
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
    except Exception as error:  # onnxruntime raises its own kinds, which share no public root
        raise ConversionError(
            f"onnxruntime can't run what was exported: {str(error)[:300]}", hint="try another convert.opset"
        ) from error
    return onnx.load(str(output))
