"""Opens the directory in which an artifact is built, describes it in its manifest, and checks it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.model_source import ModelSource
from converters.onnx.graph import Signature
from converters.previous_artifacts import is_intact
from converters.proof import ReferenceOutputs
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, GoldenCase, Manifest, check, load_golden
from eaves.artifact import Source as Origin
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.manifest import FEATURES
from eaves.artifact.store import HANDLER, LABELS, MANIFEST, MAX_HANDLER_BYTES, file_digest, file_entries
from eaves.base.locks import unfinished_folder
from eaves.errors import ArtifactError, ConversionError
from eaves.inference.json_values import numbers
from eaves.inference.replay import replay_in_child
from eaves.inference.session import open_session
from trainer.run.run import ParitySample

TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")
UNKNOWN = "NOASSERTION"
"""SPDX's value for a licence that is not stated. Source: SPDX 2.3, section 7.13."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingDirectory:
    """The two folders in which a conversion builds an artifact; both are on the output's file system.

    Attributes:
        staging: Folder that becomes the artifact.
        folder: Folder for intermediate files.
    """

    staging: Path
    folder: Path


@contextmanager
def open_staging(output: Path) -> Iterator[StagingDirectory]:
    """Open `.NAME.unfinished` beside the output for one process at a time, cleared of a killed process's files.

    Raises:
        ArtifactError: The output exists, or another process is making it.
    """
    output = output.absolute()
    if output.exists():
        raise ArtifactError(f"{output} already exists", hint="name another directory, or remove the existing one")
    busy = ArtifactError(
        f"another process is writing {output}", hint="wait until it has finished, or name another directory"
    )
    with unfinished_folder(output, refusal=busy) as place:
        work = StagingDirectory(staging=place / "artifact", folder=place / "work")
        work.staging.mkdir()
        work.folder.mkdir()
        yield work


def copy_handler(path: str, staging: Path) -> Path | None:
    """Copy a handler into the artifact that is being built, so that the conversion runs the code that will be served.

    Args:
        path: Path of the user's file; empty for none.
        staging: Directory of the artifact that is being built.

    Raises:
        ConversionError: The handler can't be read or is larger than an artifact may hold.
    """
    if not path:
        return None
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ConversionError(
            f"the handler {path} can't be read: {error.strerror}", hint="set convert.handler to a file that can be read"
        ) from error
    if len(source) > MAX_HANDLER_BYTES:
        raise ConversionError(f"the handler {path} is too large: {len(source)} bytes (at most {MAX_HANDLER_BYTES})")
    (staging / HANDLER).write_bytes(source)
    return staging / HANDLER


def build_manifest(
    source: ModelSource,
    place: StagingDirectory,
    signature: Signature,
    settings: ConvertSettings,
    *,
    right: Sequence[bool] = (),
    **further: Any,
) -> Manifest:
    """Write the labels, the last of the artifact's files, and build its manifest.

    Args:
        source: The model that was converted.
        place: The directory with the artifact's files.
        signature: Input and outputs of the graph.
        settings: Settings of the conversion.
        right: Whether the model gives each sample the label of its folder; empty if that says nothing.
        further: Further fields of the manifest.
    """
    labels = "".join(f"{label}\n" for label in source.labels)
    (place.staging / LABELS).write_text(labels, encoding="utf-8")
    # TensorFlow may be missing, because ONNX files don't need it.
    installed = [name for name in TOOLS if any(metadata.distributions(name=name))]
    return Manifest(
        name=source.name,
        version=source.version,
        labels=source.labels,
        input=signature.input,
        outputs=signature.outputs,
        task=source.task,
        source=Origin(
            route=source.route,
            digest=source.digest,
            weights=source.weights.get("origin", ""),
            weights_sha256=source.weights.get("file_sha256", ""),
            figure=source.figure,
            samples=len(right),
            samples_right=sum(right),
        ),
        licences={
            "model": source.licence or settings.licence or UNKNOWN,
            **({"weights": source.weights["licence"]} if "licence" in source.weights else {}),
        },
        toolchain={name: metadata.version(name) for name in installed},
        files=file_entries(place.staging),
        **further,
    )


def check_staged(place: StagingDirectory, manifest: Manifest, handler: Path | None, timeout_s: float) -> None:
    """Replay every golden case as a function does, also through the handler if there is one.

    Raises:
        HandlerError: The handler fails.
        GoldenError: A golden case gives other outputs, or the handler makes other inputs than those recorded.
    """
    staged = Artifact(path=place.staging, manifest=manifest, digest=manifest.digest())
    check(staged, open_session(staged).attempt)
    if handler is not None:
        (place.staging / MANIFEST).write_bytes(manifest.to_json())
        for result in replay_in_child(staged, run_handler=True, timeout_s=timeout_s):
            result.require()


def choose_goldens(source: ModelSource, previous: Sequence[Artifact], limit: int) -> tuple[ParitySample, ...]:
    """Choose one golden image for each label, at most `limit` images.

    The golden images of a previous artifact of this model are kept if they still cover the labels that `limit` images
    can cover, so that an update ships no golden images. Otherwise the sample with the lowest digest of each label is
    used, so that the same images always give the same choice.
    """
    labels = sorted({sample.label for sample in source.samples})[:limit]
    for artifact in previous:
        old = _read_goldens(artifact) if _is_of(artifact.manifest, source) and is_intact(artifact) else ()
        if 0 < len(old) <= limit and {sample.label for sample in old} >= set(labels):
            return old
    first: dict[str, ParitySample] = {}
    for sample in sorted(source.samples, key=lambda sample: sample.sha256):
        first.setdefault(sample.label, sample)
    return tuple(first[label] for label in labels)


def _is_of(manifest: Manifest, source: ModelSource) -> bool:
    handler = manifest.files[HANDLER].sha256 if HANDLER in manifest.files else ""
    own = file_digest(source.handler) if source.handler else ""
    return (manifest.name, manifest.labels, manifest.recipe, handler) == (
        source.name,
        source.labels,
        source.recipe,
        own,
    )


def _read_goldens(artifact: Artifact) -> tuple[ParitySample, ...]:
    try:
        cases = load_golden(artifact)
    except ArtifactError:  # an unreadable artifact is nothing to build on
        return ()
    paths = [artifact.path / case.file for case in cases]
    return tuple(
        ParitySample(path=path, label=case.label, sha256=file_digest(path))
        for path, case in zip(paths, cases, strict=True)
    )


def write_goldens(
    staging: Path, goldens: Sequence[ParitySample], samples: Sequence[ParitySample], expected: ReferenceOutputs
) -> None:
    """Copy the golden images and record their expected outputs.

    Args:
        staging: Directory of the artifact that is being built.
        goldens: Golden images, which are some of `samples`.
        samples: Every image that the original was run on.
        expected: Outputs for each sample: the original's for fp32, the shipped graph's own for int8.
    """
    place = {sample.sha256: index for index, sample in enumerate(samples)}
    order = [place[golden.sha256] for golden in goldens]
    cases = [
        GoldenCase(
            file="",
            label=golden.label,
            tensor_sha256=expected.tensor_sha256[index],
            logits=tuple(expected.logits[index].tolist()),
            probabilities=tuple(expected.probabilities[index].tolist()),
            outputs={} if expected.features is None else {FEATURES: tuple(numbers(expected.features[index]))},
        )
        for golden, index in zip(goldens, order, strict=True)
    ]
    tensors = None if expected.tensors is None else [expected.tensors[index] for index in order]
    write_cases(staging, [golden.path for golden in goldens], cases, tensors)


def write_cases(
    staging: Path, files: Sequence[Path], cases: Sequence[GoldenCase], tensors: Sequence[npt.NDArray[Any]] | None
) -> None:
    """Copy the files of golden cases, store the input tensors that no recipe makes, and write the index of the cases.

    Raises:
        ConversionError: A file has the name of a tensor.
    """
    (staging / GOLDEN).mkdir()
    named = []
    for number, (file, case) in enumerate(zip(files, cases, strict=True)):
        name, tensor = f"{GOLDEN}/{number:03d}{file.suffix.lower()}", ""
        shutil.copyfile(file, staging / name)
        if tensors is not None:
            tensor = f"{GOLDEN}/{number:03d}.npy"
            if tensor == name:
                raise ConversionError("samples whose names end in .npy are not supported", hint="rename the samples")
            np.save(staging / tensor, np.ascontiguousarray(tensors[number]), allow_pickle=False)
        named.append(replace(case, file=name, tensor=tensor))
    write_index(staging / INDEX, named)
