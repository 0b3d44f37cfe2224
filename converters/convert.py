"""One model to one artifact: the steps in their order."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from converters.export import export
from converters.graph import Graph, write_graph
from converters.oracle import Truth, ask
from converters.parity import prove
from converters.settings import ConvertSettings
from converters.source import Source, open_source
from eaves.artifact import Artifact, GoldenCase, Manifest, Parity, check, write_artifact
from eaves.artifact import Source as Origin
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.store import LABELS, MODEL, discard, file_entries
from eaves.errors import ArtifactError
from functions.session import Session, open_session
from trainer.run import Sample

_log = logging.getLogger(__name__)
STEPS = 6
"""How many there are."""
TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


Steps = Callable[[str], object]
"""Hears which step begins, named for people."""


def convert(
    model: Path,
    output: Path,
    settings: ConvertSettings,
    *,
    declaration: Path | None = None,
    on_step: Steps = lambda step: None,
) -> Artifact:
    """Convert a model, prove it and write the artifact.

    Args:
        model: A run, a SavedModel, a `.keras` or an `.onnx` file.
        output: The artifact's directory; must not exist. Written beside it and renamed, so it is whole or absent.
        settings: The conversion's.
        declaration: What describes a model that is no run; the `model.yaml` beside it when not given.
        on_step: Told of each step.

    Raises:
        RunError: When the run is incomplete.
        ConfigError: When the declaration has faults.
        ConversionError: When the model isn't as declared or tf2onnx fails; ParityError when the result answers
            differently.
        ArtifactError: When the output exists.
    """
    if output.exists():
        raise ArtifactError(f"{output} exists already", hint="name another directory, or remove it")
    on_step("check the model")
    source = open_source(model, declaration)
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        return _convert(source, staging, output, settings, on_step)
    finally:
        discard(staging)


def _convert(source: Source, staging: Path, output: Path, settings: ConvertSettings, on_step: Steps) -> Artifact:
    on_step("export to ONNX")
    with tempfile.TemporaryDirectory() as folder:
        exported = export(source, Path(folder) / "exported.onnx", settings)
        on_step("split the weights")
        graph = write_graph(Path(folder) / "exported.onnx", staging / MODEL, split=source.split)
    for warning in exported.warnings:
        _log.warning("%s", warning)
    on_step("ask the original for the truth")
    paths = [sample.path for sample in source.samples]
    truth = ask(source, paths, timeout_s=settings.timeout_s, memory_limit_mb=settings.memory_limit_mb)
    on_step("prove parity")
    session = Session(staging / MODEL)
    parity = prove(session, source.recipe, paths, truth, tolerance=settings.tolerance)
    _write_golden(staging, source.samples, truth, settings.golden)
    (staging / LABELS).write_text("".join(f"{label}\n" for label in source.labels), encoding="utf-8")
    manifest = _build_manifest(source, staging, graph, parity, exported.opset)
    on_step("write the artifact")
    staged = Artifact(path=staging, manifest=manifest, digest=manifest.digest())
    check(staged, open_session(staged).run)
    return write_artifact(staging, output, manifest)


def _write_golden(staging: Path, samples: Sequence[Sample], truth: Truth, limit: int) -> None:
    """Copy one image of each class (the first by digest, so that a later run with the same images picks the same)."""
    (staging / GOLDEN).mkdir()
    chosen: dict[str, int] = {}
    for index in sorted(range(len(samples)), key=lambda index: samples[index].sha256):
        chosen.setdefault(samples[index].label, index)
    cases = []
    for number, label in enumerate(sorted(chosen)[:limit]):
        sample = samples[chosen[label]]
        name = f"{GOLDEN}/{number:03d}{sample.path.suffix.lower()}"
        shutil.copyfile(sample.path, staging / name)
        index = chosen[label]
        case = GoldenCase(
            file=name,
            label=label,
            tensor_sha256=truth.tensor_sha256[index],
            logits=tuple(truth.logits[index].tolist()),
            probabilities=tuple(truth.probabilities[index].tolist()),
        )
        cases.append(case)
    write_index(staging / INDEX, cases)


def _build_manifest(source: Source, staging: Path, graph: Graph, parity: Parity, opset: int) -> Manifest:
    return Manifest(
        name=source.name,
        version=source.version,
        labels=source.labels,
        input=graph.input,
        outputs=graph.outputs,
        recipe=source.recipe,
        parity=parity,
        temperature=source.temperature,
        opset=opset,
        source=Origin(route=source.route, digest=source.digest),
        golden_tolerance=1e-3,
        toolchain={name: metadata.version(name) for name in TOOLS},
        files=file_entries(staging),
    )
