"""Prepares the exported graph for the edge with onnxruntime's optimisers: it stays fp32 and portable."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import onnx

from converters.onnx.graph import canonicalize, read_signature
from converters.onnx.graph_rewrites import fold_scaling, pool_globally, project_before_pooling
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


def prepare(exported: Path, *, split: bool, images: bool = True) -> onnx.ModelProto:
    """Fold constants, apply rewrites that onnxruntime doesn't do, and name everything.

    Args:
        exported: Path of the exported ONNX file.
        split: Whether a head was trained on a frozen backbone.
        images: Whether the model takes images; the graph of another model is only folded and named.

    Returns:
        model: Graph of ONNX's own operators with the weights inside, which is then fused or quantised.

    Raises:
        ConversionError: The graph can't be read, isn't a classifier's, or onnxruntime refuses it.
    """
    try:
        model = onnx.load(str(exported))
    except Exception as error:  # protobuf raises its own exceptions, and the file may not exist
        raise ConversionError(f"the exported ONNX graph can't be read: {error}") from error
    read_signature(model, classifier=images)
    with tempfile.TemporaryDirectory(dir=exported.parent) as folder:
        if images:
            pool_globally(model)
        model = _again(model, Path(folder))
        if images and any([fold_scaling(model), project_before_pooling(model)]):
            model = _again(model, Path(folder))
    canonicalize(model, heads=split)
    return model


def fuse(prepared: Path, folder: Path) -> onnx.ModelProto:
    """Return the fp32 graph with fused operators, in the standard memory layout, so that it runs on every CPU."""
    fused = optimize(prepared, folder / "fused.onnx", "extended")
    canonicalize(fused)
    return fused


def _again(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    del model.graph.value_info[:]
    path = folder / "rewritten.onnx"
    onnx.save(model, str(path))
    return optimize(path, folder / "folded.onnx", "basic")
