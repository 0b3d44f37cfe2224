"""Builds an artifact: its directory, handler, golden images and manifest; and finds artifacts of earlier conversions.

A repeated conversion finds the artifact that it has made already; an update keeps parts of the artifacts before it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from converters.model_source import ModelSource
from converters.proof import Answers
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, GoldenCase, Manifest, load_golden, open_artifact
from eaves.artifact import Source as Origin
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.store import HANDLER, LABELS, MAX_HANDLER_BYTES, file_digest, file_entries
from eaves.base.files import write_atomically
from eaves.base.locks import unfinished_folder
from eaves.errors import ArtifactError, ConversionError
from eaves.inference.json_values import numbers
from trainer.run.run import MANIFEST, ParitySample

TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")
UNKNOWN = "NOASSERTION"
"""SPDX's value for a licence that is not stated. Source: SPDX 2.3, section 7.13."""


@contextmanager
def open_staging(output: Path) -> Iterator[tuple[Path, Path]]:
    """Open `.NAME.unfinished` beside the output for one process at a time, cleared of a killed process's files.

    Yields:
        staging: Folder that becomes the artifact.
        folder: Folder for intermediate files, on the same file system.

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
        staging, folder = place / "artifact", place / "work"
        staging.mkdir()
        folder.mkdir()
        yield staging, folder


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
    source: ModelSource, staging: Path, settings: ConvertSettings, *, right: Sequence[bool] = (), **further: Any
) -> Manifest:
    """Write the labels, the last of the artifact's files, and build its manifest.

    Args:
        source: The model that was converted.
        staging: The directory with the artifact's files.
        settings: Settings of the conversion.
        right: Whether the model gives each sample the label of its folder; empty if that says nothing.
        further: Further fields of the manifest.
    """
    labels = "".join(f"{label}\n" for label in source.labels)
    (staging / LABELS).write_text(labels, encoding="utf-8")
    # TensorFlow may be missing, because ONNX files don't need it.
    installed = [name for name in TOOLS if any(metadata.distributions(name=name))]
    return Manifest(
        name=source.name,
        version=source.version,
        labels=source.labels,
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
        files=file_entries(staging),
        **further,
    )


def choose_goldens(source: ModelSource, previous: Sequence[Artifact], limit: int) -> tuple[ParitySample, ...]:
    """Choose one golden image for each label, at most `limit` images; of samples without labels the first by digest.

    The golden images of a previous artifact of this model are kept if they still cover the labels that `limit` images
    can cover, so that an update ships no golden images. Otherwise the sample with the lowest digest of each label is
    used, so that the same images always give the same choice.
    """
    first: dict[str, ParitySample] = {}
    for sample in sorted(source.samples, key=lambda sample: sample.sha256):
        first.setdefault(sample.label or sample.sha256, sample)
    labels = sorted(first)[:limit]
    own = file_digest(source.handler) if source.handler else ""
    for artifact in previous:
        manifest = artifact.manifest
        handler = manifest.files[HANDLER].sha256 if HANDLER in manifest.files else ""
        makes = (manifest.name, manifest.labels, manifest.recipe, handler)
        if makes != (source.name, source.labels, source.recipe, own) or not is_intact(artifact):
            continue
        try:
            cases = load_golden(artifact)
        except ArtifactError:  # an unreadable artifact is nothing to build on
            continue
        paths = [artifact.path / case.file for case in cases]
        old = tuple(
            ParitySample(path=path, label=case.label, sha256=file_digest(path))
            for path, case in zip(paths, cases, strict=True)
        )
        if 0 < len(old) <= limit and {sample.label for sample in old} >= set(labels):
            return old
    return tuple(first[label] for label in labels)


def write_goldens(
    staging: Path, goldens: Sequence[ParitySample], samples: Sequence[ParitySample], expected: Answers
) -> None:
    """Copy the golden samples, store the input tensors that no recipe makes, and record the expected outputs.

    Args:
        staging: Directory of the artifact that is being built.
        goldens: Golden samples, which are some of `samples`.
        samples: Every sample that the original was run on.
        expected: Outputs for each sample: the original's for fp32, the shipped graph's own for int8.

    Raises:
        ConversionError: A sample has the name of a tensor.
    """
    (staging / GOLDEN).mkdir()
    place = {sample.sha256: index for index, sample in enumerate(samples)}
    cases = []
    for number, golden in enumerate(goldens):
        index = place[golden.sha256]
        name, tensor = f"{GOLDEN}/{number:03d}{golden.path.suffix.lower()}", ""
        shutil.copyfile(golden.path, staging / name)
        if expected.tensors:
            tensor = f"{GOLDEN}/{number:03d}.npy"
            if tensor == name:
                raise ConversionError("samples whose names end in .npy are not supported", hint="rename the samples")
            np.save(staging / tensor, np.ascontiguousarray(expected.tensors[index]), allow_pickle=False)
        cases.append(
            GoldenCase(
                file=name,
                label=golden.label,
                tensor_sha256=expected.tensor_sha256[index],
                tensor=tensor,
                outputs={name: tuple(numbers(value.ravel())) for name, value in expected.outputs[index].items()},
            )
        )
    write_index(staging / INDEX, cases)


def find_converted(run: Path, output: Path, settings: ConvertSettings) -> Artifact | None:
    """Return the artifact that an earlier conversion of the same run with the same settings made; None without one.

    Args:
        run: Directory of the run.
        output: Directory of the artifact.
        settings: Settings of the conversion.
    """
    try:
        made = open_artifact(output, level="full")
        same = (
            made.manifest.source.digest == file_digest(run / MANIFEST)
            and _settings_beside(output).read_bytes() == _render_settings(made.digest, settings)
            and (not settings.handler or file_digest(Path(settings.handler)) == made.manifest.files[HANDLER].sha256)
        )
    except (ArtifactError, OSError):
        return None
    return made if same else None


def write_settings(output: Path, digest: str, settings: ConvertSettings) -> None:
    """Write the settings that an artifact is made with beside it; the artifact itself holds no path of this machine.

    Args:
        output: Directory of the artifact.
        digest: Digest of the artifact.
        settings: Settings of the conversion.

    Raises:
        OSError: The file can't be written.
    """
    write_atomically(_settings_beside(output), _render_settings(digest, settings), mode=None)


def _settings_beside(artifact: Path) -> Path:
    return artifact.with_name(f"{artifact.name}.settings.json")


def _render_settings(digest: str, settings: ConvertSettings) -> bytes:
    return json.dumps({"artifact": digest, "convert": asdict(settings)}, indent=2, sort_keys=True).encode() + b"\n"


def find_previous(named: str, output: Path) -> tuple[Artifact, ...]:
    """Find earlier artifacts whose parts a new artifact may reuse, the highest version first.

    Args:
        named: Path of the artifact to use; empty means all artifacts in the output's parent folder. Only the manifests
            are read; check an artifact with `is_intact` before its parts are used.
        output: Directory of the new artifact.

    Raises:
        ArtifactError: The named path holds no artifact.
    """
    if named:
        return (open_artifact(Path(named), level="full"),)
    found = []
    # Hidden folders belong to running or killed conversions.
    for manifest in sorted(output.absolute().parent.glob("[!.]*/manifest.json")):
        try:
            found.append(open_artifact(manifest.parent))
        # an artifact of another version, or no artifact, is nothing to build on and no fault of this conversion
        except ArtifactError:
            continue
    return tuple(sorted(found, key=lambda artifact: (artifact.manifest.version, artifact.path.name), reverse=True))


def is_intact(artifact: Artifact) -> bool:
    """Return whether every byte of an artifact matches its manifest; parts of a damaged artifact are not reused."""
    try:
        return open_artifact(artifact.path, level="full").digest == artifact.digest
    except ArtifactError:
        return False
