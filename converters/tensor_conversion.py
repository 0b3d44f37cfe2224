"""Converts an ONNX file that doesn't take images to an artifact of the task `tensor`, proven on its samples.

The model's own input and outputs stay unchanged, and it is only run on one example at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from converters.model_source import ModelSource
from converters.onnx.graph import Signature, canonicalize, read_signature, write_graph
from converters.onnx.graph_preparation import fuse, optimize
from converters.proof import run_original
from converters.settings import ConvertSettings
from converters.staging import StagingDirectory, build_manifest, check_staged, write_cases
from converters.untrusted_onnx import load_foreign, opset_of
from eaves.artifact import Artifact, GoldenCase, Parity, Quantisation, write_artifact
from eaves.artifact.conversion_results import FP32, INT8
from eaves.artifact.golden import difference
from eaves.artifact.manifest import label_output
from eaves.artifact.store import MODEL
from eaves.errors import ArtifactError, ConversionError, ParityError
from eaves.inference.session import Session
from trainer.progress import TrainingProgress

Tensor = npt.NDArray[Any]
NUMBERS = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
_OURS = re.compile(r"(head/)?t[0-9]{4}(_[0-9]+)?|(head|backbone)/[0-9]{4}")
"""Pattern of the names that `canonicalize` gives to tensors within a graph; a model's inputs and outputs may not have
them."""


def convert_tensor(
    source: ModelSource, place: StagingDirectory, output: Path, settings: ConvertSettings, progress: TrainingProgress
) -> Artifact:
    """Convert a model, prove parity and write the artifact.

    Args:
        source: The model to convert.
        place: Folders in which the conversion works.
        output: Directory of the artifact.
        settings: Settings of the conversion.
        progress: Receives the phases and their steps.

    Raises:
        ConversionError: The model's inputs or outputs aren't numbers, or int8 is asked for; it is a ParityError when
            the result gives other outputs.
        HandlerError: The handler fails.
    """
    if settings.precision == INT8 or settings.task:
        raise ConversionError(
            f"{source.name} is declared for the task tensor, which has no other task and only the precision fp32",
            hint="leave convert.task empty and convert.precision at auto",
        )
    with progress.phase("Preparing the graph", 1) as step:
        signature, opset = _prepare(source, place, settings)
        step()
    paths = [sample.path for sample in source.samples]
    with progress.phase("Proving parity", 1) as step:
        spec = {"name": signature.input.name, "dtype": signature.input.dtype, "shape": signature.input.shape}
        digests, inputs, truth = run_original(source.job() | {"input": spec}, paths, settings.timeout_s)
        parity = _prove(source, signature, inputs, truth, Session(place.staging / MODEL), settings.tolerance)
        step()
    cases = [
        GoldenCase(
            file="",
            label="",
            tensor_sha256=digest,
            outputs={name: tuple(value.ravel().tolist()) for name, value in outputs.items()},
        )
        for digest, outputs in zip(digests, truth, strict=True)
    ]
    # The first samples by digest, so that the same samples always give the same choice.
    order = sorted(range(len(paths)), key=lambda index: source.samples[index].sha256)[: settings.golden]
    write_cases(
        place.staging,
        [paths[index] for index in order],
        [cases[index] for index in order],
        [inputs[index] for index in order],
    )
    manifest = build_manifest(
        source,
        place,
        signature,
        settings,
        recipe=None,
        parity=parity,
        golden_tolerance=settings.tolerance,
        precision=FP32,
        quantisation=Quantisation(
            asked=settings.precision,
            reason="int8 was not tried: it is judged on labelled images, and this model does not take images",
        ),
        opset=opset,
    )
    check_staged(place, manifest, source.handler, settings.timeout_s)
    return write_artifact(place.staging, output, manifest)


def _prepare(source: ModelSource, place: StagingDirectory, settings: ConvertSettings) -> tuple[Signature, int]:
    """Write the fp32 graph into the artifact, and return its signature and operator set."""
    model, _ = load_foreign(source.model, opset=settings.opset)
    opset = opset_of(model)
    given = place.folder / "given.onnx"
    _check_names(model)
    onnx.save(model, str(given))
    prepared = optimize(given, place.folder / "folded.onnx", "basic")
    canonicalize(prepared, heads=False)
    signature = read_signature(prepared, classifier=False)
    _check(signature)
    try:
        label_output(source.labels, signature.outputs)
    except ArtifactError as error:
        raise ConversionError(error.message, hint=error.hint) from error
    onnx.save(prepared, str(place.folder / "prepared.onnx"))
    write_graph(fuse(place.folder / "prepared.onnx", place.folder), place.staging / MODEL, split=False)
    return signature, opset


def _check_names(model: onnx.ModelProto) -> None:
    """Check that inputs and outputs have usable names, not those the conversion itself gives, and a batch axis."""
    for value in (*model.graph.input, *model.graph.output):
        if not (0 < len(value.name) <= 64 and value.name.isprintable()) or _OURS.fullmatch(value.name):
            raise ConversionError(
                f"the input or output name {value.name[:80]!r} is not supported",
                hint="export the model with another name",
            )
        dims = value.type.tensor_type.shape.dim
        if not dims or (dims[0].HasField("dim_value") and dims[0].dim_value != 1):
            sizes = [dim.dim_value or dim.dim_param or "any" for dim in dims]
            raise ConversionError(
                f"{value.name} has the shape {sizes}; its first axis must be the batch axis, with the size 1 or any",
                hint="export the model with the batch as the first axis of the input and of every output",
            )


def _check(signature: Signature) -> None:
    for spec in (signature.input, *signature.outputs):
        if spec.dtype not in NUMBERS:
            raise ConversionError(f"{spec.name} has the type {spec.dtype}; supported are {', '.join(NUMBERS)}")
    if len(signature.input.shape) < 2:
        raise ConversionError(
            f"the input {signature.input.name} has only a batch axis; at least one more axis is needed"
        )


def _prove(
    source: ModelSource,
    signature: Signature,
    inputs: Sequence[Tensor],
    truth: Sequence[Mapping[str, Tensor]],
    session: Session,
    tolerance: float,
) -> Parity:
    """Prove that the converted model gives the original's outputs for each sample.

    Differences are relative to the largest number of an output if that is above 1.
    """
    worst, absolute, same = 0.0, 0.0, 0
    scores = label_output(source.labels, signature.outputs)
    for sample, tensor, expected in zip(source.samples, inputs, truth, strict=True):
        found = session.answer(tensor[np.newaxis])
        for name, own in expected.items():
            if not np.all(np.isfinite(own)):
                raise ConversionError(
                    f"{sample.path.name}: the output {name} of the original model is not finite",
                    hint="remove the sample",
                )
            off = difference(found[name], own.ravel()) if found[name].shape == own.shape else np.inf
            if off > tolerance:
                raise ParityError(
                    f"{sample.path.name}: the output {name} of the converted model differs from the original's by "
                    f"{off:.2e} of the largest value (at most {tolerance:.0e} allowed)",
                    hint="set another convert.opset, or report the model to the developers of Eaves",
                )
            worst = max(worst, off)
            absolute = max(absolute, float(np.max(np.abs(found[name].astype(np.float64) - own), initial=0.0)))
        same += not scores or int(np.argmax(found[scores])) == int(np.argmax(expected[scores]))
    return Parity(
        images=len(inputs),
        max_abs_error=absolute,
        max_rel_error=worst,
        top1_agreement=same / len(inputs),
        tolerance=tolerance,
        min_agreement=0.0,
        passed=True,
    )
