"""Converts one model to one artifact, step by step."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from converters.export import export
from converters.golden_images import choose_goldens, write_goldens
from converters.int8.precision_choice import PrecisionInputs, choose_precision
from converters.model_source import ModelSource, open_source
from converters.onnx.graph import read_signature, write_graph
from converters.onnx.graph_preparation import fuse, prepare
from converters.previous_artifacts import find_converted, find_previous, write_settings
from converters.proof import ParityTolerance, ReferenceOutputs, prove_parity, run_reference, run_session
from converters.report_page import page_path, write_page
from converters.settings import ConvertSettings
from converters.staging import StagingDirectory, build_manifest, check_staged, copy_handler, open_staging
from converters.tensor_conversion import convert_tensor
from eaves.artifact import Artifact, Parity, write_artifact
from eaves.artifact.conversion_results import FP32, INT8
from eaves.artifact.manifest import EMBED, TENSOR
from eaves.artifact.store import MODEL
from eaves.base.disk_errors import disk_errors
from eaves.errors import ConversionError
from eaves.inference.session import Session
from trainer.progress import SilentProgress, TrainingProgress
from trainer.run.run import ParitySample

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
    page: bool = False,
    cache: Path | None = None,
) -> Artifact:
    """Convert a model, prove parity and write the artifact.

    Args:
        model: A run, a SavedModel, a `.keras` or an `.onnx` file.
        output: Directory of the artifact. It must not exist, unless it was made from the same run with the same
            settings and `page`; then it is returned as it is. The artifact is built beside this path and renamed, so
            it is whole or absent.
        settings: Settings of the conversion.
        declaration: Declaration of a model that is not a run; None means the `model.yaml` beside the model.
        progress: Receives the phases of the conversion and their steps.
        page: Whether to write files beside the artifact: `NAME.html`, the result for people, and of a run's artifact
            `NAME.settings.json`, by which the next conversion knows that it has been done.
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
    with disk_errors(output), open_staging(output) as place, disk_errors(place.folder):
        with progress.phase("Checking the model", 1) as step:
            handler = copy_handler(settings.handler, place.staging)
            source = open_source(model, declaration, handler=handler)
            if source.task != TENSOR:
                source = _as_asked(source, settings.task)
            step()
        if source.task == TENSOR:
            return convert_tensor(source, place, output, settings, progress)
        return _Conversion(source, place, output, settings, progress, cache=cache).run(page=page)


class _Conversion:
    """A running conversion.

    Args:
        source: The model to convert.
        place: Folders in which the conversion works.
        output: Directory of the artifact.
        settings: Settings of the conversion.
        progress: Receives the phases of the conversion and their steps.
        cache: Folder for labelled images; None means the folder beside the model.
    """

    def __init__(
        self,
        source: ModelSource,
        place: StagingDirectory,
        output: Path,
        settings: ConvertSettings,
        progress: TrainingProgress,
        *,
        cache: Path | None,
    ) -> None:
        self.source = source
        self.place, self.staging, self.folder = place, place.staging, place.folder
        self.output = output
        self.settings = settings
        self.progress = progress
        self.cache = cache
        self.prepared_file = place.folder / "prepared.onnx"
        self.fp32 = place.folder / FP32 / MODEL

    def run(self, *, page: bool) -> Artifact:
        """Run every step and return the artifact."""
        prepared, opset = self._prepare()
        previous = find_previous(self.settings.previous, self.output)
        goldens = choose_goldens(self.source, previous, self.settings.golden)
        samples = tuple({sample.sha256: sample for sample in (*self.source.samples, *goldens)}.values())
        truth, parity = self._prove(samples)
        paths = tuple(sample.path for sample in samples)
        work = PrecisionInputs(
            source=self.source,
            prepared=prepared,
            fp32=self.fp32,
            samples=paths,
            truth=truth,
            previous=previous,
            folder=self.folder,
            cache=self._cache(),
        )
        choice = choose_precision(work, self.settings, self.progress)
        shutil.copytree((choice.model or self.fp32).parent, self.staging, dirs_exist_ok=True)
        expected = truth
        if choice.model is not None:
            session = Session(self.staging / MODEL, optimise=False)
            answers = run_session(session, self.source.recipe, paths, truth)
            expected = ReferenceOutputs(
                logits=answers.logits, probabilities=answers.probabilities, tensor_sha256=truth.tensor_sha256
            )
        if self.source.task == EMBED:
            answers = run_session(Session(self.fp32), self.source.recipe, paths, truth)
            expected = replace(truth, features=answers.features)
        write_goldens(self.staging, goldens, samples, replace(expected, tensors=truth.tensors))
        right = [
            self.source.labels[int(np.argmax(one))] == sample.label
            for one, sample in zip(truth.probabilities, samples, strict=True)
        ]
        int8, found = choice.model is not None, choice.quantisation
        manifest = build_manifest(
            self.source,
            self.place,
            read_signature(prepared),
            self.settings,
            right=() if self.source.route == "run" else right,
            recipe=self.source.recipe,
            parity=choice.parity or parity,
            golden_tolerance=_golden_tolerance(found.trials[-1].kept_fp32) if int8 else self.settings.tolerance,
            precision=INT8 if int8 else FP32,
            quantisation=found,
            optimise_on_open=not int8,
            temperature=self.source.temperature,
            decision=self.source.decision,
            opset=opset,
        )
        check_staged(self.place, manifest, self.source.handler, self.settings.timeout_s)
        if page and self.source.route == "run":  # first, so that no kill leaves an artifact that can't be recognised
            write_settings(self.output, manifest.digest(), self.settings)
        artifact = write_artifact(self.staging, self.output, manifest)
        if page:
            try:
                write_page(artifact, self.source.quality)
            except OSError as error:  # the artifact is complete without the page
                _log.warning("%s can't be written: %s", page_path(self.output), error.strerror)
        return artifact

    def _prepare(self) -> tuple[onnx.ModelProto, int]:
        """Export the model, prepare its graph and write the fp32 graph; return the prepared graph and operator set."""
        with self.progress.phase("Exporting to ONNX", 1) as step:
            exported = export(self.source, self.folder / "exported.onnx", self.settings)
            step()
        for warning in exported.warnings:
            _log.warning("%s", warning)
        with self.progress.phase("Preparing the graph", 1) as step:
            prepared = prepare(self.folder / "exported.onnx", split=self.source.split)
            onnx.save(prepared, str(self.prepared_file))
            self.fp32.parent.mkdir()
            write_graph(fuse(self.prepared_file, self.folder), self.fp32, split=self.source.split)
            step()
        return prepared, exported.opset

    def _prove(self, samples: tuple[ParitySample, ...]) -> tuple[ReferenceOutputs, Parity]:
        """Run the original model on the samples; return its outputs, and the proof that the fp32 graph gives them."""
        settings, paths = self.settings, [sample.path for sample in samples]
        with self.progress.phase("Proving parity", 1) as step:
            truth = run_reference(self.source, paths, timeout_s=settings.timeout_s)
            demand = ParityTolerance(probabilities=settings.tolerance, logits=settings.tolerance)
            source = self.source
            parity = prove_parity(
                Session(self.fp32),
                source.recipe,
                paths,
                truth,
                demand,
                decision=source.decision if source.route == "run" else None,
                temperature=source.temperature,
            )
            step()
        return truth, parity

    def _cache(self) -> Path:
        """Return the cache folder that training uses too, so that labelled images aren't downloaded twice."""
        if self.cache is not None:
            return self.cache
        beside = self.source.model.absolute().parent if self.source.route == "run" else self.output.absolute()
        return beside.parent / ".cache"


def _as_asked(source: ModelSource, task: str) -> ModelSource:
    """Return the model source with the task that the settings name; unchanged if the settings name none.

    Raises:
        ConversionError: The declaration lacks what the task needs.
    """
    if task in ("", source.task):
        return source
    if task == EMBED and source.route != "run":
        raise ConversionError(
            f"the declaration of {source.name} does not name the output that holds the features",
            hint="add `task: embed` and `features: NAME` to the declaration",
        )
    return replace(source, task=task, interface=replace(source.interface, features=""))


def _golden_tolerance(kept: tuple[str, ...]) -> float:
    return MIXED_TOLERANCE if kept else INT8_TOLERANCE
