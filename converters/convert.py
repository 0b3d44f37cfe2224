"""One run to one artifact: the steps in their order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from converters.export import export_saved_model
from converters.graph import Graph, write_graph
from converters.oracle import Truth, ask_tensorflow
from converters.parity import prove
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, GoldenCase, Manifest, Parity, Source, check, write_artifact
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.store import LABELS, MODEL, discard, file_digest, file_entries
from eaves.errors import ArtifactError
from functions.session import Session, open_session
from trainer.run import Run, Sample, open_run

STEPS = 6
"""How many there are."""
TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


Steps = Callable[[str], object]
"""Hears which step begins, named for people."""


def convert(run_path: Path, output: Path, settings: ConvertSettings, *, on_step: Steps = lambda step: None) -> Artifact:
    """Convert a run, prove it and write the artifact.

    Args:
        run_path: The run's directory.
        output: The artifact's directory; must not exist. Written beside it and renamed, so it is whole or absent.
        settings: The conversion's.
        on_step: Told of each step.

    Raises:
        RunError: When the run is incomplete.
        ConversionError: When tf2onnx fails; ParityError when the result answers differently.
        ArtifactError: When the output exists.
    """
    if output.exists():
        raise ArtifactError(f"{output} exists already", hint="name another directory, or remove it")
    on_step("check the run")
    run = open_run(run_path)
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        return _convert(run, staging, output, settings, on_step)
    finally:
        discard(staging)


def _convert(run: Run, staging: Path, output: Path, settings: ConvertSettings, on_step: Steps) -> Artifact:
    on_step("SavedModel to ONNX")
    exported = staging / "exported.onnx"
    export_saved_model(run.saved_model, exported, opset=settings.opset, timeout_s=settings.timeout_s)
    on_step("split the weights")
    graph = write_graph(exported, staging / MODEL, split=run.mode == "frozen")
    exported.unlink()
    on_step("ask TensorFlow for the truth")
    samples = run.samples()
    paths = [sample.path for sample in samples]
    truth = ask_tensorflow(run.saved_model, run.recipe, paths, timeout_s=settings.timeout_s)
    on_step("prove parity")
    session = Session(staging / MODEL)
    parity = prove(session, run.recipe, paths, truth, tolerance=settings.tolerance)
    _write_golden(staging, samples, truth, settings.golden)
    (staging / LABELS).write_text("".join(f"{label}\n" for label in run.labels), encoding="utf-8")
    manifest = _build_manifest(run, staging, graph, parity, settings)
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


def _build_manifest(run: Run, staging: Path, graph: Graph, parity: Parity, settings: ConvertSettings) -> Manifest:
    return Manifest(
        name=run.name,
        version=run.version,
        labels=run.labels,
        input=graph.input,
        outputs=graph.outputs,
        recipe=run.recipe,
        parity=parity,
        temperature=float(run.metrics().get("temperature", 1.0)),
        opset=settings.opset,
        source=Source(route="run", digest=file_digest(run.path / "run.json")),
        golden_tolerance=settings.tolerance,
        toolchain={name: metadata.version(name) for name in TOOLS},
        files=file_entries(staging),
    )
