"""Chooses the golden images of an artifact and records the outputs that the shipped graph must give for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.model_source import ModelSource
from converters.previous_artifacts import is_intact
from converters.proof import ReferenceOutputs
from eaves.artifact import Artifact, GoldenCase, Manifest, load_golden
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.manifest import FEATURES
from eaves.artifact.store import HANDLER, file_digest
from eaves.errors import ArtifactError, ConversionError
from eaves.inference.json_values import numbers
from trainer.run.run import ParitySample


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
