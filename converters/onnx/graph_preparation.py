"""Prepares the exported graph for the edge: folds, rewrites and names it; it stays fp32 and portable."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from converters.onnx.graph import canonicalize, read_signature
from converters.onnx.graph_rewrites import fold_scaling, pool_globally, project_before_pooling
from converters.onnx.optimizer import optimize
from eaves.errors import ConversionError


def prepare(exported: Path, *, split: bool) -> onnx.ModelProto:
    """Fold constants, apply rewrites that onnxruntime doesn't do, and name everything.

    Args:
        exported: Path of the exported ONNX file.
        split: Whether a head was trained on a frozen backbone.

    Returns:
        model: Graph of ONNX's own operators with the weights inside, which is then fused or quantised.

    Raises:
        ConversionError: The graph can't be read, isn't a classifier's, or onnxruntime refuses it.
    """
    try:
        model = onnx.load(str(exported))
    except Exception as error:  # protobuf raises its own exceptions, and the file may not exist
        raise ConversionError(f"the exported ONNX graph can't be read: {error}") from error
    read_signature(model)
    with tempfile.TemporaryDirectory(dir=exported.parent) as folder:
        pool_globally(model)
        model = _again(model, Path(folder))
        folded = fold_scaling(model)
        swapped = project_before_pooling(model)
        if folded or swapped:
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
