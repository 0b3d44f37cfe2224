"""Exports any model source to an ONNX file with the input and outputs that every artifact has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx

from converters.child_process import run_child
from converters.onnx.adapter import adapt
from converters.onnx.graph import show_features
from converters.settings import ConvertSettings
from converters.untrusted_onnx import load_foreign, opset_of
from eaves.artifact.manifest import EMBED, FEATURES
from eaves.errors import ArtifactError, ConversionError

if TYPE_CHECKING:
    from converters.model_source import ModelSource
    from eaves.inference.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedGraph:
    """Result of an export.

    Attributes:
        warnings: Warnings of Python, tf2onnx and Eaves, without repetitions.
        opset: Operator set of the ONNX file.
    """

    warnings: tuple[str, ...]
    opset: int


def export(source: ModelSource, output: Path, settings: ConvertSettings) -> ExportedGraph:
    """Write the model as ONNX: from `image` uint8 (batch, H, W, 3) RGB to `logits` and `probabilities`.

    Both are (batch, labels) float32.

    For the task embed, the graph also gives `features` (batch, any) float32.

    TensorFlow runs in a child process for three reasons: tf2onnx names nodes and dimensions from process-wide counters,
    so a second conversion in one process gives other bytes; the child's memory is freed when it ends; and a crash in
    the child doesn't crash this process.

    Args:
        source: Model to convert.
        output: ONNX file to write; large weights go to `NAME.data` beside it.
        settings: Operator set and limits.

    Raises:
        ConversionError: The export fails, or the model isn't as declared.
    """
    if source.route == "onnx":
        model, warnings = load_foreign(source.model, opset=settings.opset)
        adapt(model, source.interface, source.recipe, len(source.labels))
        output.write_bytes(model.SerializeToString(deterministic=True))
        exported = ExportedGraph(warnings=warnings, opset=opset_of(model))
    else:
        exported = _export_tensorflow(source, output, settings)
    if source.route == "run" and source.task == EMBED:
        model = onnx.load(str(output), load_external_data=False)
        show_features(model)
        output.write_bytes(model.SerializeToString(deterministic=True))
    if source.route != "run":
        _try_batch(output, source)
    return exported


def _export_tensorflow(source: ModelSource, output: Path, settings: ConvertSettings) -> ExportedGraph:
    result = run_child(
        "converters.tensorflow_export",
        {**source.job(), "opset": settings.opset, "output": str(output.absolute())},
        what="tf2onnx",
        timeout_s=settings.timeout_s,
    )
    if source.route != "run":
        model = onnx.load(str(output), load_external_data=False)
        adapt(model, source.interface, source.recipe, len(source.labels))
        output.write_bytes(model.SerializeToString(deterministic=True))
    return ExportedGraph(warnings=tuple(result["warnings"]), opset=settings.opset)


def _try_batch(model: Path, source: ModelSource) -> None:
    """Check that a batch of two images gives the same outputs as each image alone.

    A model that was saved for batches of one image often fails this check.

    Raises:
        ConversionError: The outputs differ, or the model can't take two images.
    """
    from eaves.inference.session import OUTPUTS, Session

    shape = (2, source.recipe.height, source.recipe.width, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    try:
        session = Session(model, tables=OUTPUTS if source.task != EMBED else (*OUTPUTS, FEATURES))
    except ArtifactError as error:
        raise ConversionError(error.message) from error
    alone = _run(session, images[:1], "an image of the declared size", "correct `height`, `width` or `layout`")
    if alone.shape != (1, len(source.labels)):
        raise ConversionError(
            f"the model gives {alone.shape[-1]} numbers for an image, but the declaration has "
            f"{len(source.labels)} labels",
            hint="declare as many labels as the model has classes",
        )
    again = "export the model again with a dynamic batch dimension (PyTorch: `dynamic_axes` or `dynamic_shapes`)"
    both = _run(session, images, "two images at once: its batch size is fixed in the graph", again)
    if both.shape[0] != 2 or not np.allclose(both[:1], alone, rtol=1e-3, atol=1e-3):
        raise ConversionError(
            "the model gives another answer for an image in a batch of two than for the image alone", hint=again
        )


def _run(session: Session, batch: npt.NDArray[np.uint8], given: str, hint: str) -> npt.NDArray[np.float32]:
    try:
        return session.run(batch)[0]
    except Exception as error:  # onnxruntime raises its own exceptions, which share no public base class
        raise ConversionError(f"the model can't process {given}: {str(error)[:300]}", hint=hint) from error
