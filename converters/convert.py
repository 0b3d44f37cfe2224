"""Converts one model to one artifact, step by step."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from converters.int8.precision_choice import PrecisionChooser
from converters.model_source import ModelSource, open_source
from converters.onnx.adapter import adapt, check_names, check_numbers
from converters.onnx.graph import find_features, fuse, prepare, read_signature, show_features, write_graph
from converters.proof import Answers, prove_parity, run_original, run_session
from converters.settings import ConvertSettings
from converters.staging import (
    build_manifest,
    choose_goldens,
    copy_handler,
    find_converted,
    find_previous,
    open_staging,
    write_goldens,
    write_settings,
)
from converters.untrusted_onnx import load_foreign
from eaves.artifact import Artifact, check, write_artifact
from eaves.artifact.manifest import ANOMALY, CLASSIFY, EMBED, FEATURES, FP32, INT8, PROBABILITIES, TENSOR
from eaves.artifact.store import MANIFEST, MODEL
from eaves.base.disk_errors import disk_errors
from eaves.errors import ConversionError
from eaves.inference.replay import replay_in_child
from eaves.inference.session import Session, open_session
from trainer.progress import SilentProgress, TrainingProgress

_log = logging.getLogger(__name__)
INT8_TOLERANCE, MIXED_TOLERANCE = 0.01, 0.1
"""Maximum difference of a logit when golden images are replayed on another CPU: INT8_TOLERANCE for graphs with all
convolutions in int8, MIXED_TOLERANCE for graphs with some convolutions in fp32. Measured with Inception V3 on flowers
and emulated CPUs: with int8 alone, logits differ by 5e-6 at most on x86 and ARM, and by 0.12 to 1.0 if int8 sums
overflow. With layers in fp32 between int8 layers they differ by up to 0.09, because other CPUs round fp32 differently,
and int8 rounds the results to other steps."""


def convert(
    model: Path,
    output: Path,
    settings: ConvertSettings,
    *,
    declaration: Path | None = None,
    progress: TrainingProgress | None = None,
    cache: Path | None = None,
) -> Artifact:
    """Convert a model, prove parity and write the artifact.

    Args:
        model: A run, a SavedModel, a `.keras` or an `.onnx` file.
        output: Directory of the artifact. It must not exist, unless it was made from the same run with the same
            settings; then it is returned as it is. The artifact is built beside this path and renamed, so it is whole
            or absent. Beside an artifact of a run is `NAME.settings.json`, by which the next conversion knows that it
            has been done.
        settings: Settings of the conversion.
        declaration: Declaration of a model that is not a run; None means the `model.yaml` beside the model.
        progress: Receives the phases of the conversion and their steps.
        cache: Local folder for downloaded labelled images; None means the folder beside the model, as in training.

    Raises:
        RunError: The run is incomplete.
        ConfigError: The declaration has faults.
        ConversionError: The model isn't as declared, tf2onnx fails, or int8 is asked for and fails its proof. The error
            is a ParityError when the result gives other outputs.
        ArtifactError: The output exists, another process is making it, or the previous artifact is no artifact.
        StorageError: The disk is full or can't be written.
    """
    progress = progress or SilentProgress()
    if (made := find_converted(model, output, settings)) is not None:
        _log.info("already converted: %s, from the same run with the same settings", output)
        return made
    with disk_errors(output), open_staging(output) as (staging, folder), disk_errors(folder):
        with progress.phase("Checking the model", 1) as step:
            handler = copy_handler(settings.handler, staging)
            source = _with_task(open_source(model, declaration, handler=handler), settings)
            step()
        return _convert(source, staging, folder, output, settings, progress, cache)


def _convert(
    source: ModelSource,
    staging: Path,
    folder: Path,
    output: Path,
    settings: ConvertSettings,
    progress: TrainingProgress,
    cache: Path | None,
) -> Artifact:
    """Convert a model in the folders of `open_staging`; the other arguments are those of `convert`."""
    exported, prepared_file, fp32 = folder / "exported.onnx", folder / "prepared.onnx", folder / FP32 / MODEL
    previous = find_previous(settings.previous, output)
    goldens = choose_goldens(source, previous, settings.golden)
    samples = tuple({sample.sha256: sample for sample in (*source.samples, *goldens)}.values())
    paths = tuple(sample.path for sample in samples)
    with progress.phase("Exporting to ONNX", 1) as step:
        opset, truth = export(source, exported, settings, paths)
        step()
    with progress.phase("Preparing the graph", 1) as step:
        takes_images = source.task != TENSOR
        prepared = prepare(exported, split=source.split, images=takes_images)
        given, outputs = read_signature(prepared, classifier=takes_images)
        if not takes_images:
            check_numbers(given, outputs, source.labels)
            source = replace(source, input=given)
        onnx.save(prepared, str(prepared_file))
        fp32.parent.mkdir()
        write_graph(fuse(prepared_file, folder), fp32, split=source.split)
        step()
    with progress.phase("Proving parity", 1) as step:
        truth = truth or run_original(source, paths, timeout_s=settings.timeout_s)
        parity = prove_parity(Session(fp32), source, paths, truth, settings.tolerance)
        step()
    # Training uses the same cache folder, so that labelled images aren't downloaded twice.
    beside = source.model.absolute().parent if source.route == "run" else output.absolute()
    found, int8_model, int8_parity = PrecisionChooser(
        source=source,
        settings=settings,
        progress=progress,
        prepared=prepared,
        fp32=fp32,
        samples=paths,
        truth=truth,
        previous=previous,
        folder=folder,
        cache=cache or beside.parent / ".cache",
    ).choose()
    int8 = int8_model is not None
    shutil.copytree((int8_model or fp32).parent, staging, dirs_exist_ok=True)
    expected = truth
    if int8:
        expected = run_session(Session(staging / MODEL, optimise=False), source, paths, truth)
    elif source.task == EMBED:
        own = run_session(Session(fp32), source, paths, truth).outputs
        both = zip(truth.outputs, own, strict=True)
        expected = replace(truth, outputs=tuple({**one, FEATURES: graph[FEATURES]} for one, graph in both))
    write_goldens(staging, goldens, samples, expected)
    right: list[bool] = []
    if source.route != "run" and takes_images:
        best = truth.stack(PROBABILITIES).argmax(axis=1)
        right = [source.labels[index] == sample.label for index, sample in zip(best, samples, strict=True)]
    int8_tolerance = MIXED_TOLERANCE if int8 and found.trials[-1].kept_fp32 else INT8_TOLERANCE
    manifest = build_manifest(
        source,
        staging,
        settings,
        right=right,
        input=given,
        outputs=outputs,
        recipe=source.recipe if takes_images else None,
        parity=int8_parity or parity,
        golden_tolerance=int8_tolerance if int8 else settings.tolerance,
        precision=INT8 if int8 else FP32,
        quantisation=found,
        optimise_on_open=not int8,
        temperature=source.temperature,
        decision=source.decision,
        anomaly=source.anomaly,
        label_scores=source.label_scores if source.task == CLASSIFY else (),
        features=find_features(staging / MODEL) if source.split else "",
        opset=opset,
    )
    # Every golden case is replayed as a function does, also through the handler if there is one.
    staged = Artifact(path=staging, manifest=manifest, digest=manifest.digest())
    check(staged, open_session(staged).attempt)
    if source.handler is not None:
        (staging / MANIFEST).write_bytes(manifest.to_json())
        for result in replay_in_child(staged, run_handler=True, timeout_s=settings.timeout_s):
            result.require()
    if source.route == "run":  # first, so that no kill leaves an artifact that can't be recognised
        write_settings(output, manifest.digest(), settings)
    return write_artifact(staging, output, manifest)


def _with_task(source: ModelSource, settings: ConvertSettings) -> ModelSource:
    """Return the model source with the task that the settings name; unchanged if the settings name none.

    Raises:
        ConversionError: The model or its declaration lacks what the task or the precision needs.
    """
    task = settings.task
    if source.task == TENSOR and (settings.precision == INT8 or task):
        raise ConversionError(
            f"{source.name} is declared for the task tensor, which has no other task and only the precision fp32",
            hint="leave convert.task empty and convert.precision at auto",
        )
    if task in ("", source.task):
        return source
    if source.task == ANOMALY:
        raise ConversionError(f"{source.name} is of the task anomaly and has no other", hint="leave convert.task empty")
    if task == EMBED and source.route != "run":
        raise ConversionError(
            f"the declaration of {source.name} does not name the output that holds the features",
            hint="add `task: embed` and `features: NAME` to the declaration",
        )
    return replace(source, task=task, interface=replace(source.interface, features=""))


def export(
    source: ModelSource, output: Path, settings: ConvertSettings, samples: Sequence[Path]
) -> tuple[int, Answers | None]:
    """Write the model as ONNX; one that takes images from uint8 RGB to `logits` and `probabilities`.

    Its input is `image`, (batch, H, W, 3), and both outputs are (batch, labels) float32. For the task embed, the graph
    also gives `features` (batch, any) float32.

    TensorFlow runs in a child process, whose memory is freed when it ends, and whose crash doesn't crash this process.
    The same process answers the samples.

    Args:
        source: Model to convert.
        output: ONNX file to write.
        settings: Operator set and limits.
        samples: Files of samples.

    Returns:
        opset: Operator set of the ONNX file.
        truth: What a TensorFlow model answers to the samples; None for an ONNX file.

    Raises:
        ConversionError: The export fails, or the model isn't as declared.
    """
    if source.route == "onnx":
        model = load_foreign(source.model)
        if source.task == TENSOR:
            check_names(model)
        else:
            adapt(model, source.interface, source.recipe, len(source.labels))
        output.write_bytes(model.SerializeToString(deterministic=True))
        return max((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), default=1), None

    def adapt_exported() -> None:
        model = onnx.load(str(output))
        if source.route != "run":
            adapt(model, source.interface, source.recipe, len(source.labels))
        elif source.task == EMBED:
            show_features(model)
        output.write_bytes(model.SerializeToString(deterministic=True))

    return settings.opset, run_original(
        source,
        samples,
        timeout_s=settings.timeout_s,
        on_export=adapt_exported,  # says what is wrong with a declaration that the model can't be run by
        opset=settings.opset,
        exported=str(output.absolute()),
    )
