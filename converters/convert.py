"""One model to one artifact: the steps in their order."""

from __future__ import annotations

import logging
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import onnx

from converters.export import export
from converters.goldens import choose_goldens, write_goldens
from converters.graph import Signature, read_signature, write_graph
from converters.licences import UNKNOWN, read_licences
from converters.oracle import ask
from converters.page import page_path, write_page
from converters.parity import Demand, answer, prove
from converters.precision import Choice, Work, choose
from converters.prepare import fuse, prepare
from converters.previous import find_previous
from converters.settings import ConvertSettings
from converters.source import Source, open_source
from converters.stopwatch import measure
from converters.variants import write_variants
from eaves.artifact import Artifact, Manifest, Parity, Variant, check, write_artifact
from eaves.artifact import Source as Origin
from eaves.artifact.store import LABELS, MODEL, discard, file_entries
from eaves.artifact.verdicts import FP32, INT8
from eaves.errors import ArtifactError
from functions.session import Session, open_session
from trainer.progress import Progress, Silent

_log = logging.getLogger(__name__)
TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")
INT8_TOLERANCE = 0.05
"""Of a logit, when goldens are replayed: int8's sums are exact everywhere, what is between them is rounded floats."""


def convert(
    model: Path,
    output: Path,
    settings: ConvertSettings,
    *,
    declaration: Path | None = None,
    progress: Progress | None = None,
    page: bool = False,
) -> Artifact:
    """Convert a model, prove it and write the artifact.

    Args:
        model: A run, a SavedModel, a `.keras` or an `.onnx` file.
        output: The artifact's directory; must not exist. Written beside it and renamed, so it is whole or absent.
        settings: The conversion's.
        declaration: What describes a model that is no run; the `model.yaml` beside it when not given.
        progress: Told how far it is.
        page: Whether to write the verdict for people too, `NAME.html` beside the artifact.

    Raises:
        RunError: When the run is incomplete.
        ConfigError: When the declaration has faults.
        ConversionError: When the model isn't as declared, tf2onnx fails, or int8 is asked for and doesn't hold;
            ParityError when the result answers differently.
        ArtifactError: When the output exists, or the previous artifact is none.
    """
    if output.exists():
        raise ArtifactError(f"{output} exists already", hint="name another directory, or remove it")
    progress = progress or Silent()
    with progress.phase("Checking the model", 1) as step:
        source = open_source(model, declaration)
        step()
    output.parent.mkdir(parents=True, exist_ok=True)
    staging, folder = (Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent)) for _ in range(2))
    try:
        return _convert(source, staging, folder, output, settings, progress, page)
    finally:
        discard(staging)
        discard(folder)


def _convert(
    source: Source,
    staging: Path,
    folder: Path,
    output: Path,
    settings: ConvertSettings,
    progress: Progress,
    page: bool,
) -> Artifact:
    with progress.phase("Exporting to ONNX", 1) as step:
        exported = export(source, folder / "exported.onnx", settings)
        step()
    for warning in exported.warnings:
        _log.warning("%s", warning)
    with progress.phase("Preparing the graph", 1) as step:
        prepared = prepare(folder / "exported.onnx")
        onnx.save(prepared, str(folder / "prepared.onnx"))
        fp32 = folder / FP32 / MODEL
        fp32.parent.mkdir()
        write_graph(fuse(folder / "prepared.onnx", folder), fp32, split=source.split)
        step()
    previous = find_previous(settings.previous, output, source)
    goldens = choose_goldens(source, previous, settings.golden)
    samples = tuple({sample.sha256: sample for sample in (*source.samples, *goldens)}.values())
    paths = [sample.path for sample in samples]
    with progress.phase("Proving parity", 1) as step:
        truth = ask(source, paths, timeout_s=settings.timeout_s, memory_limit_mb=settings.memory_limit_mb)
        demand = Demand(probabilities=settings.tolerance, logits=settings.tolerance)
        parity = prove(Session(fp32), source.recipe, paths, truth, demand)
        step()
    work = Work(
        source=source,
        prepared=prepared,
        fp32=fp32,
        samples=tuple(paths),
        truth=truth,
        previous=previous,
        folder=folder,
        cache=output.absolute().parent / ".cache",
    )
    choice = choose(work, settings, progress)
    shipped = choice.model or fp32
    variants: tuple[Variant, ...] = ()
    if choice.model is None and settings.targets:
        with progress.phase("Laying out for targets", 1) as step:
            variants = write_variants(
                folder / "prepared.onnx", staging, settings.targets, split=source.split, folder=folder
            )
            step()
    timings = measure(fp32, shipped, paths[0], source.recipe) if page else None
    expected = truth if choice.model is None else answer(Session(shipped, optimise=False), source.recipe, paths, truth)
    for part in shipped.parent.iterdir():
        shutil.move(part, staging / part.name)
    write_goldens(staging, goldens, samples, truth, expected)
    (staging / LABELS).write_text("".join(f"{label}\n" for label in source.labels), encoding="utf-8")
    manifest = _build_manifest(
        source, staging, read_signature(prepared), settings, choice, parity, variants, exported.opset
    )
    staged = Artifact(path=staging, manifest=manifest, digest=manifest.digest())
    check(staged, open_session(staged).run)
    artifact = write_artifact(staging, output, manifest)
    if timings is not None:
        write_page(page_path(output), manifest, timings)
    return artifact


def _build_manifest(
    source: Source,
    staging: Path,
    signature: Signature,
    settings: ConvertSettings,
    choice: Choice,
    parity: Parity,
    variants: tuple[Variant, ...],
    opset: int,
) -> Manifest:
    int8 = choice.model is not None
    return Manifest(
        name=source.name,
        version=source.version,
        labels=source.labels,
        input=signature.input,
        outputs=signature.outputs,
        recipe=source.recipe,
        parity=choice.parity or parity,
        golden_tolerance=INT8_TOLERANCE if int8 else settings.tolerance,
        precision=INT8 if int8 else FP32,
        quantisation=choice.quantisation,
        targets=settings.targets,
        variants=variants,
        optimise_on_open=not int8,
        temperature=source.temperature,
        opset=opset,
        source=Origin(route=source.route, digest=source.digest),
        licences={"model": source.licence or settings.licence or UNKNOWN, **read_licences(TOOLS)},
        toolchain={name: metadata.version(name) for name in TOOLS},
        files=file_entries(staging),
    )
