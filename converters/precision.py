"""int8 or fp32: int8 ships when it holds, after the layers that hurt most went back to fp32 if need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from converters.calibration import calibrate
from converters.equaliser import equalise
from converters.graph import write_graph
from converters.judge import UNREADABLE, Judgement, judge
from converters.labelled import Labelled, load_labelled
from converters.oracle import Truth
from converters.parity import Demand, answer, compare
from converters.previous import calibration_key, find_calibrated, reuse_backbone
from converters.quantiser import convolutions, quantise, with_makers
from converters.sensitivity import rank
from converters.settings import ConvertSettings
from converters.source import Source
from eaves.artifact import TARGETS, Artifact, Parity, Quantisation, Trial, detect_cpu
from eaves.artifact.manifest import EMBED
from eaves.artifact.store import MODEL
from eaves.artifact.verdicts import FP32, INT8
from eaves.errors import ConversionError, ImageError
from functions.session import Session
from trainer.progress import Progress

RUNGS = (1, 2, 3, 4, 6, 8)
"""Of the most sensitive layers, how many stay fp32, one trial each until one holds. Beyond, int8 has little left to
save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a decision is made on.

    Attributes:
        source: The model.
        prepared: Its prepared graph.
        fp32: Its fp32 graph as it would be served.
        samples: Encoded images for the proof.
        truth: The original's answers to them.
        previous: Artifacts to build on.
        folder: For files in between, and for the graph that is chosen.
        cache: Local folder for labelled images that are downloaded or unpacked.
    """

    source: Source
    prepared: onnx.ModelProto
    fp32: Path
    samples: tuple[Path, ...]
    truth: Truth
    previous: tuple[Artifact, ...]
    folder: Path
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What ships.

    Attributes:
        quantisation: The verdict and the table.
        model: The int8 graph; None: fp32 ships.
        parity: Of the int8 graph with the original.
    """

    quantisation: Quantisation
    model: Path | None = None
    parity: Parity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An int8 graph and the layers in it that stayed fp32."""

    model: onnx.ModelProto
    kept: tuple[str, ...] = ()


def choose(work: Work, settings: ConvertSettings, progress: Progress) -> Choice:
    """Decide the precision by measuring.

    Args:
        work: What on.
        settings: What is asked for, and how much int8 may lose.
        progress: Told how far it is.

    Raises:
        ConversionError: When int8 is asked for and doesn't hold, or can't be tried.
    """
    asked = Quantisation(asked=settings.precision, max_accuracy_drop=settings.max_accuracy_drop / 100)
    if settings.precision == FP32:
        return Choice(quantisation=replace(asked, reason="fp32 was asked for"))
    if why := _untried(work):
        if settings.precision == INT8:
            raise ConversionError(f"int8 can't be tried: {why}", hint="convert with precision fp32")
        return Choice(quantisation=replace(asked, reason=f"int8 was not tried: {why}"))
    reduce_range = not (settings.targets and all(TARGETS[target].vnni for target in settings.targets))
    try:
        labelled = _find_images(work, settings, progress, reduce_range=reduce_range)
    except ConversionError as error:
        if settings.precision == INT8:
            raise
        return Choice(quantisation=replace(asked, reason=f"int8 was not tried: {error.message}"))
    key = calibration_key(work.prepared, work.source, metadata.version("onnxruntime"), reduce_range=reduce_range)
    fp32 = _judge(work, work.fp32, labelled, progress, what=FP32)
    asked = replace(
        asked,
        images=int(np.sum(fp32.predicted != UNREADABLE)),
        data_digest=labelled.digest(),
        accuracy_fp32=fp32.accuracy,
        interval_95_fp32=fp32.interval_95,
        size_bytes_fp32=_size(work.fp32),
        reduce_range=reduce_range,
        calibration_images=len(labelled.calibration),
        calibration_key=key,
        instruction_set="any" if reduce_range else "vnni",
    )
    candidates = _candidates(work, labelled, key, progress, reduce_range=reduce_range)
    try:
        choice = _try(work, settings, labelled, asked, fp32, candidates, progress)
    except ConversionError as error:
        if settings.precision == INT8:
            raise
        reason = f"int8 could not be made: {error.message}"
        return Choice(quantisation=replace(asked, reason=reason, instruction_set="any"))
    if choice.model is None and settings.precision == INT8:
        raise ConversionError(
            f"int8 doesn't hold: {choice.quantisation.reason}",
            hint="convert with precision fp32, or allow more with convert.max_accuracy_drop",
        )
    return choice


def _untried(work: Work) -> str:
    """Why int8 couldn't be judged; empty when it can."""
    if work.source.task == EMBED:
        return "it is judged by labels, which say nothing of features"
    return "it is judged on images, and a handler makes the inputs" if work.truth.tensors is not None else ""


def _find_images(work: Work, settings: ConvertSettings, progress: Progress, *, reduce_range: bool) -> Labelled:
    if not convolutions(work.prepared):
        raise ConversionError("the model has no convolutions, and only these are quantised")
    if not reduce_range and not detect_cpu().vnni:
        raise ConversionError(
            "8-bit weights for CPUs with int8 dot products can't be judged on this one, which has none",
            hint="convert on a machine like convert.targets, or leave targets empty",
        )
    labelled = load_labelled(
        work.source, settings.data, images=settings.calibration_images, cache=work.cache, progress=progress
    )
    if not labelled.calibration or not labelled.judged:
        raise ConversionError("there are too few labelled images to calibrate on some and judge on others")
    return labelled


def _candidates(
    work: Work, labelled: Labelled, key: str, progress: Progress, *, reduce_range: bool
) -> Iterator[Candidate]:
    """int8 graphs, the fastest first; each is only made when the one before didn't hold."""
    previous = find_calibrated(work.previous, key)
    reused = reuse_backbone(previous, work.prepared) if previous is not None else None
    if previous is not None and reused is not None:
        yield Candidate(model=reused, kept=previous.manifest.quantisation.trials[-1].kept_fp32)
    images: list[npt.NDArray[np.uint8]] = []

    def tensors() -> Iterator[npt.NDArray[np.uint8]]:
        with progress.phase("Calibrating", len(labelled.calibration)) as step:
            for path in labelled.calibration:
                step()
                try:
                    images.append(work.source.recipe.tensor(path.read_bytes()))
                except ImageError:  # training left it out too
                    continue
                yield images[-1]

    model = onnx.ModelProto()
    model.CopyFrom(work.prepared)
    calibration = equalise(model, calibrate(model, tensors()))
    yield Candidate(model=quantise(model, calibration, work.folder, reduce_range=reduce_range))
    ranked = rank(model, calibration, images, progress, reduce_range=reduce_range)
    keeps = (with_makers(model, ranked[:rung]) for rung in RUNGS if rung <= len(ranked))
    for kept in dict.fromkeys(keeps):  # one layer's makers may be the next worst layers
        yield Candidate(
            model=quantise(model, calibration, work.folder, keep=kept, reduce_range=reduce_range), kept=kept
        )


def _try(
    work: Work,
    settings: ConvertSettings,
    labelled: Labelled,
    found: Quantisation,
    fp32: Judgement,
    candidates: Iterator[Candidate],
    progress: Progress,
) -> Choice:
    demand = Demand(probabilities=settings.tolerance_int8, agreement=settings.agreement_int8)
    trials: list[Trial] = []
    different: list[Parity] = []
    for candidate in candidates:
        model = work.folder / f"trial{len(trials)}" / MODEL
        model.parent.mkdir()
        write_graph(candidate.model, model, split=work.source.split)
        int8 = _judge(work, model, labelled, progress, what=f"int8, {len(candidate.kept)} layers in fp32")
        answers = answer(Session(model, optimise=False), work.source.recipe, work.samples, work.truth)
        parity = compare(answers, work.truth, demand)
        trial = Trial(
            kept_fp32=candidate.kept,
            accuracy=int8.accuracy,
            interval_95=int8.interval_95,
            agreement=int8.agreement(fp32),
            drop=fp32.accuracy - int8.accuracy,
            size_bytes=_size(model),
        )
        trials.append(trial)
        if trial.drop > found.max_accuracy_drop + 1e-9:
            continue
        if parity.passed:
            reason = f"int8 holds: {trial.accuracy:.3f} against {fp32.accuracy:.3f} on {found.images} held-out images"
            shipped = replace(found, shipped=True, reason=reason, trials=tuple(trials))
            return Choice(quantisation=shipped, model=model, parity=parity)
        different.append(parity)
    reason = f"{_refuse(trials, different, fp32, found)}; {len(trials)} tried"
    if found.reduce_range:
        reason += " with 7-bit weights; CPUs with int8 dot products take 8 bits, if convert.targets names them"
    refused = replace(found, reason=reason, trials=tuple(trials), instruction_set="any")
    return Choice(quantisation=refused)


def _refuse(trials: list[Trial], different: list[Parity], fp32: Judgement, found: Quantisation) -> str:
    """Why no trial ships; `different` are the proofs of those that lost little."""
    if not different:
        least = min(trial.drop for trial in trials)
        return (
            f"int8 lost at least {least * 100:.1f} points of {fp32.accuracy:.3f} on {found.images} held-out images, "
            f"{found.max_accuracy_drop * 100:g} allowed"
        )
    closest = max(different, key=lambda parity: (parity.top1_agreement, -parity.max_abs_error_probabilities))
    return (
        f"int8 answered too differently: the same label on {closest.top1_agreement:.1%} of {closest.images} samples "
        f"({closest.min_agreement:.0%} demanded), a probability off by {closest.max_abs_error_probabilities:.4f} "
        f"({closest.tolerance:g} allowed)"
    )


def _judge(work: Work, model: Path, labelled: Labelled, progress: Progress, *, what: str) -> Judgement:
    session = Session(model, optimise=what == FP32)
    return judge(session, work.source.recipe, labelled.judged, work.source.labels, progress, what=what)


def _size(model: Path) -> int:
    return sum(path.stat().st_size for path in model.parent.rglob("*") if path.is_file())
