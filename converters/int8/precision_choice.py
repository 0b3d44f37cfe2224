"""Chooses int8 or fp32: selects a candidate on training images and assesses it on unseen images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from converters.int8.candidate_selection import (
    SHARE_ON_TRAINED,
    CandidateScore,
    ScoredCandidate,
    SelectionGoal,
    pick_candidate,
)
from converters.int8.candidates import Int8Candidate, Material, make_candidates
from converters.int8.evidence import NO_LABEL, AllowedLoss, assess_candidate
from converters.int8.explanation import explain, explain_difference
from converters.int8.images import Int8Images, find_images
from converters.int8.quantizer import convolutions
from converters.onnx.graph import write_graph
from converters.previous_artifacts import calibration_key
from converters.proof.graph_predictions import UNREADABLE, GraphPredictions, classify
from converters.proof.parity import ParityTolerance, compare, run_session
from converters.proof.reference import ReferenceOutputs
from converters.settings import ConvertSettings
from converters.source.model_source import ModelSource
from eaves.artifact import TARGETS, Artifact, Evidence, Parity, Quantisation, Trial, detect_cpu
from eaves.artifact.conversion_results import FP32, INT8
from eaves.artifact.manifest import EMBED
from eaves.artifact.store import MODEL
from eaves.base.clock import SYSTEM, Clock
from eaves.errors import ConversionError
from eaves.inference.session import Session
from trainer.evaluation import MEAN_RECALL
from trainer.evaluation.grouped_statistics import JudgedImages
from trainer.progress import TrainingProgress

RANKING_SHARE = 0.7
"""Share of `convert.int8_time_limit_s` after which no further layer's sensitivity is measured; the remaining time is
for making and scoring candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionInputs:
    """Inputs of the choice between int8 and fp32.

    Attributes:
        source: The model to convert.
        prepared: Prepared graph of the model.
        fp32: Path of the fp32 graph as it would be served.
        samples: Encoded images for the parity proof.
        truth: Outputs of the original for these images.
        previous: Artifacts whose parts may be reused.
        folder: Folder for intermediate files and the chosen graph.
        cache: Local folder for labelled images that are downloaded or unpacked.
    """

    source: ModelSource
    prepared: onnx.ModelProto
    fp32: Path
    samples: tuple[Path, ...]
    truth: ReferenceOutputs
    previous: tuple[Artifact, ...]
    folder: Path
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionChoice:
    """The chosen precision.

    Attributes:
        quantisation: Decision for or against int8 with its reason, and the measurements of all candidates.
        model: Path of the int8 graph; None if fp32 ships.
        parity: Parity of the int8 graph with the original.
    """

    quantisation: Quantisation
    model: Path | None = None
    parity: Parity | None = None


def choose_precision(
    work: PrecisionInputs, settings: ConvertSettings, progress: TrainingProgress, clock: Clock = SYSTEM
) -> PrecisionChoice:
    """Choose the precision by measurements.

    Args:
        work: Inputs of the choice.
        settings: Settings with the wanted precision and the allowed loss.
        progress: Receives the phases and their steps.
        clock: Clock that measures `convert.int8_time_limit_s`.

    Raises:
        ConversionError: Int8 is asked for and answers the samples too differently, or can't be tried.
    """
    asked = Quantisation(asked=settings.precision, max_accuracy_drop=settings.max_accuracy_drop / 100)
    if settings.precision == FP32:
        return PrecisionChoice(quantisation=replace(asked, reason="convert.precision is fp32"))
    if why := _untried(work):
        if settings.precision == INT8:
            raise ConversionError(f"int8 can't be tried: {why}", hint="convert with precision fp32")
        return PrecisionChoice(quantisation=replace(asked, reason=f"int8 was not tried: {why}"))
    reduce_range = not (settings.targets and all(TARGETS[target].vnni for target in settings.targets))
    try:
        _check(work, reduce_range=reduce_range)
        images = find_images(work.source, settings, work.cache, progress)
        return _Decision(work, settings, images, progress, clock, reduce_range=reduce_range).decide(asked)
    except ConversionError as error:
        if settings.precision == INT8:
            raise
        return PrecisionChoice(quantisation=replace(asked, reason=f"int8 was not tried: {error.message}"))


def _untried(work: PrecisionInputs) -> str:
    """Return why int8 can't be assessed for this kind of model; empty when it can."""
    if work.source.task == EMBED:
        return "int8 is judged by predicted labels, and this model predicts features"
    return (
        "int8 is judged on images, and this model's inputs are made by a handler"
        if work.truth.tensors is not None
        else ""
    )


def _check(work: PrecisionInputs, *, reduce_range: bool) -> None:
    """Check that the model can be quantised, and that this CPU computes int8 with the same results as the target CPUs.

    Raises:
        ConversionError: The model has no convolutions, or this CPU computes differently.
    """
    if not convolutions(work.prepared):
        raise ConversionError("the model has no convolutions, and only convolutions are quantised")
    if not reduce_range and not detect_cpu().vnni:
        raise ConversionError(
            "8-bit weights for CPUs with int8 dot products can't be judged on this CPU, which has no int8 dot products",
            hint="convert on a machine with one of the CPUs of convert.targets, or leave convert.targets empty",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """An int8 candidate and the path of the file that its graph is written to."""

    candidate: Int8Candidate
    model: Path


class _Decision:
    """A running choice between int8 and fp32.

    Args:
        work: Inputs of the choice.
        settings: Settings of the conversion.
        images: Images by purpose.
        progress: Receives the phases and their steps.
        clock: Clock that limits the search for candidates.
        reduce_range: Whether weights have 7 bits.
    """

    def __init__(
        self,
        work: PrecisionInputs,
        settings: ConvertSettings,
        images: Int8Images,
        progress: TrainingProgress,
        clock: Clock,
        *,
        reduce_range: bool,
    ) -> None:
        self.work, self.settings, self.images = work, settings, images
        self.progress, self.reduce_range = progress, reduce_range
        self._clock, self._started = clock, clock.monotonic()
        self.fp32 = Session(work.fp32)
        self.key = calibration_key(
            work.prepared, work.source, metadata.version("onnxruntime"), reduce_range=reduce_range
        )

    def decide(self, asked: Quantisation) -> PrecisionChoice:
        """Select a candidate, assess it, and choose the precision."""
        seen = self._pick()
        picked = seen[-1].candidate
        int8 = Session(picked.model, optimise=False)
        evidence, judged, found = self._judge(int8, asked)
        found = replace(
            found,
            evidence=evidence,
            trials=(*(_trial(one) for one in seen[:-1]), replace(judged, **_picked(seen[-1]))),
            picking_images=len(self.images.picking),
            size_bytes_fp32=_size(self.work.fp32),
            reduce_range=self.reduce_range,
            calibration_images=len(self.images.calibration),
            calibration_key=self.key,
        )
        demand = ParityTolerance(probabilities=self.settings.tolerance_int8, agreement=self.settings.agreement_int8)
        answers = run_session(int8, self.work.source.recipe, self.work.samples, self.work.truth)
        parity = compare(answers, self.work.truth, demand, self.work.source.decision)
        reason = explain(evidence, found.max_accuracy_drop)
        if not parity.passed:
            reason = explain_difference(parity)
            if self.settings.precision == INT8:
                raise ConversionError(
                    f"int8 can't be used: {reason}",
                    hint="convert with precision fp32, or allow more with convert.tolerance_int8",
                )
        elif evidence.passed or self.settings.precision == INT8:
            if not evidence.passed:
                reason = f"int8 was required by convert.precision, although the evidence does not suffice: {reason}"
            shipped = replace(
                found, shipped=True, reason=reason, instruction_set="any" if self.reduce_range else "vnni"
            )
            return PrecisionChoice(quantisation=shipped, model=picked.model, parity=parity)
        if self.reduce_range:
            reason += ". Weights had 7 bits; they get 8 bits if convert.targets names only CPUs with int8 dot products"
        return PrecisionChoice(quantisation=replace(found, reason=reason))

    def _pick(self) -> list[ScoredCandidate[_Written]]:
        """Score int8 candidates on training images; return all of them with their scores, the selected one last."""
        images = self.images.picking
        exact = self._classify(self.fp32, images, "Predicting with fp32")

        def look(written: _Written) -> CandidateScore:
            kept = len(written.candidate.kept)
            session = Session(written.model, optimise=False)
            found = self._classify(session, images, f"Predicting with int8, {kept} layers in fp32")
            return _compare(exact, found)

        wanted = SelectionGoal(
            different=SHARE_ON_TRAINED * self.settings.max_accuracy_drop / 100,
            worst_probability=self.settings.tolerance_int8,
        )
        return pick_candidate(self._written(), look, wanted, lambda: self._used(1.0))

    def _used(self, share: float) -> bool:
        """Return whether this share of the seconds in `convert.int8_time_limit_s` has passed."""
        return self._clock.monotonic() - self._started >= share * self.settings.int8_time_limit_s

    def _written(self) -> Iterator[_Written]:
        work = self.work
        material = Material(
            prepared=work.prepared,
            recipe=work.source.recipe,
            calibration=self.images.calibration,
            reduce_range=self.reduce_range,
            key=self.key,
            previous=work.previous,
            folder=work.folder,
        )
        candidates = make_candidates(material, self.progress, lambda: self._used(RANKING_SHARE))
        for number, candidate in enumerate(candidates):
            model = work.folder / f"trial{number}" / MODEL
            model.parent.mkdir()
            write_graph(candidate.model, model, split=work.source.split)
            yield _Written(candidate=candidate, model=model)

    def _judge(self, int8: Session, asked: Quantisation) -> tuple[Evidence, Trial, Quantisation]:
        """Assess the selected candidate on images that the model was not trained on.

        Photos without labels are used only if the labels don't suffice.
        """
        source, allowed = self.work.source, AllowedLoss.of(self.settings)
        index = {label: number for number, label in enumerate(source.labels)}
        judged = self.images.labelled.judged
        truth = np.array([index[sample.label] for sample in judged], np.int64)
        paths = [sample.path for sample in judged]
        groups = [self.images.labelled.groups.get(sample.sha256, sample.sha256) for sample in judged]
        weigh = partial(_weigh, labels=source.labels, allowed=allowed, is_balanced=source.figure == MEAN_RECALL)
        fp32 = self._classify(self.fp32, paths, f"Judging {FP32}")
        found = self._classify(int8, paths, f"Judging {INT8}")
        evidence = weigh(truth, fp32.predicted, found.predicted, groups)
        if not evidence.passed and self.images.unlabelled:
            more = list(self.images.unlabelled)
            every = np.concatenate([truth, np.full(len(more), NO_LABEL, np.int64)])
            both = [
                np.concatenate([known.predicted, self._classify(session, more, f"Judging {what}").predicted])
                for known, session, what in ((fp32, self.fp32, FP32), (found, int8, INT8))
            ]
            evidence = weigh(every, both[0], both[1], [*groups, *(str(path) for path in more)])
        seen = fp32.predicted != UNREADABLE
        kept = [name for name, is_seen in zip(groups, seen, strict=True) if is_seen]
        images = JudgedImages.of_names(kept, truth[seen] if source.figure == MEAN_RECALL else None)
        before, after = (images.estimate(one.predicted[seen] == truth[seen]) for one in (fp32, found))
        trial = Trial(
            accuracy=after.value,
            interval_95=(after.low, after.high),
            agreement=evidence.agreement,
            drop=before.value - after.value,
        )
        about = replace(
            asked,
            images=evidence.labelled_images,
            data_digest=self.images.labelled.digest(),
            accuracy_fp32=before.value,
            interval_95_fp32=(before.low, before.high),
        )
        return evidence, trial, about

    def _classify(self, session: Session, paths: Sequence[Path], what: str) -> GraphPredictions:
        source = self.work.source
        return classify(session, source.recipe, paths, self.progress, decision=source.decision, what=what)


def _weigh(
    truth: npt.NDArray[np.int64],
    fp32: npt.NDArray[np.int64],
    int8: npt.NDArray[np.int64],
    groups: Sequence[str],
    *,
    labels: tuple[str, ...],
    allowed: AllowedLoss,
    is_balanced: bool,
) -> Evidence:
    """Assess an int8 candidate by its predictions and fp32's for the images that can be decoded."""
    seen = fp32 != UNREADABLE
    kept = [name for name, is_seen in zip(groups, seen, strict=True) if is_seen]
    return assess_candidate(truth[seen], fp32[seen], int8[seen], labels, allowed, groups=kept, is_balanced=is_balanced)


def _compare(fp32: GraphPredictions, int8: GraphPredictions) -> CandidateScore:
    seen = fp32.predicted != UNREADABLE
    return CandidateScore(
        different=float(np.mean(fp32.predicted[seen] != int8.predicted[seen])),
        worst_probability=float(np.max(np.abs(fp32.probabilities - int8.probabilities))),
    )


def _trial(seen: ScoredCandidate[_Written]) -> Trial:
    """Return the report's record of a candidate that was scored on training images, but not assessed."""
    return replace(Trial(judged=False), **_picked(seen))


def _picked(seen: ScoredCandidate[_Written]) -> dict[str, Any]:
    """Return the fields of a candidate's record that are known even if it was not assessed."""
    return {
        "kept_fp32": seen.candidate.candidate.kept,
        "picking_agreement": 1 - seen.look.different,
        "size_bytes": _size(seen.candidate.model),
    }


def _size(model: Path) -> int:
    return sum(path.stat().st_size for path in model.parent.rglob("*") if path.is_file())
