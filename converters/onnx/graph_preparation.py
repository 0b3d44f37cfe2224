"""The exported graph made ready for the edge: folded, rewritten, named; still fp32, still any CPU's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from converters.onnx.graph import canonicalize, read_signature
from converters.onnx.graph_rewrites import fold_scaling, pool_globally, project_before_pooling
from converters.onnx.optimizer import optimize
from eaves.errors import ConversionError


def prepare(exported: Path, *, split: bool) -> onnx.ModelProto:
    """Fold what is constant, rewrite what onnxruntime doesn't, and name everything.

    Args:
        exported: What an export wrote.
        split: Whether a head was trained on a frozen backbone.

    Returns:
        model: Of ONNX's own operators, weights inside: what is fused and what is quantised.

    Raises:
        ConversionError: When it can't be read, isn't a classifier's, or onnxruntime refuses it.
    """
    try:
        model = onnx.load(str(exported))
    except Exception as error:  # protobuf raises its own kinds, and the file may be gone
        raise ConversionError(f"what was exported can't be read: {error}") from error
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
    """The portable fp32 graph: operators fused, no layout of any one CPU."""
    fused = optimize(prepared, folder / "fused.onnx", "extended")
    canonicalize(fused)
    return fused


def _again(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    del model.graph.value_info[:]
    path = folder / "rewritten.onnx"
    onnx.save(model, str(path))
    return optimize(path, folder / "folded.onnx", "basic")
