"""Chooses int8 or fp32: selects one of two int8 graphs on training images and assesses it on unseen images.

If the graph were selected on the images that it is assessed on, a bad one would ship more often. Therefore only the
selected graph is run on those images, and the assessment needs no correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from converters.int8.equalizer import calibrate, equalize
from converters.int8.evidence import NO_LABEL, AllowedLoss, assess_candidate, explain, explain_difference
from converters.int8.images import Int8Images, find_images
from converters.int8.quantizer import convolutions, quantize, rank, with_makers
from converters.model_source import ModelSource
from converters.onnx.graph import write_graph
from converters.previous_artifacts import calibration_key, find_calibrated, reuse_backbone
from converters.proof import ParityTolerance, ReferenceOutputs, compare, run_session
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, DecisionRule, Evidence, Parity, Quantisation, Trial
from eaves.artifact.conversion_results import FP32, INT8
from eaves.artifact.manifest import EMBED
from eaves.artifact.store import MODEL
from eaves.errors import ConversionError, ImageError
from eaves.inference.session import Session
from eaves.recipe import Recipe
from trainer.evaluation import MEAN_RECALL
from trainer.evaluation.grouped_statistics import JudgedImages
from trainer.progress import TrainingProgress

KEPT_LAYERS = 3
"""Number of the most sensitive layers that stay fp32 in the second graph, with the layers that make their inputs. On
Inception V3 and flowers, 3 of them raise the agreement with fp32 from 93 to 98 %, and take a quarter of fp32's time."""
SHARE_ON_TRAINED = 0.25
"""Factor of the allowed loss of accuracy; the product is the largest share of training images on which int8 may give
another label than fp32. It is small, because a network is more certain about images that it was trained on: int8 with
7-bit weights of Inception V3 on flowers gave another label on 1.5 % of the training images and on 6.7 % of other
images."""
UNREADABLE = -1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPredictions:
    """Predictions of a graph for images.

    Attributes:
        predicted: (N,) int64, index of the label predicted for each image; `UNREADABLE` if it can't be decoded.
        probabilities: (N, classes) float32, probabilities; 0 if the image can't be decoded.
    """

    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An int8 graph, and how its answers to training images differ from those of fp32.

    Attributes:
        model: Path of the graph.
        kept: Names of its layers that stay fp32.
        different: Share of images to which it gives another label.
        worst_probability: Largest difference of a probability.
    """

    model: Path
    kept: tuple[str, ...]
    different: float
    worst_probability: float


def choose_precision(work: PrecisionInputs, settings: ConvertSettings, progress: TrainingProgress) -> PrecisionChoice:
    """Choose the precision by measurements.

    Raises:
        ConversionError: Int8 is asked for and answers the samples too differently, or can't be tried.
    """
    asked = Quantisation(asked=settings.precision, max_accuracy_drop=settings.max_accuracy_drop / 100)
    if settings.precision == FP32:
        return PrecisionChoice(quantisation=replace(asked, reason="convert.precision is fp32"))
    try:
        _check(work, settings)
        images = find_images(work.source, settings, work.cache, progress)
        return _Choice(work, settings, images, progress).decide(asked)
    except ConversionError as error:
        if settings.precision == INT8:
            raise
        return PrecisionChoice(quantisation=replace(asked, reason=f"int8 was not tried: {error.message}"))


def _check(work: PrecisionInputs, settings: ConvertSettings) -> None:
    """Check that int8 can be made and assessed for this kind of model."""
    why = ""
    if work.source.task == EMBED:
        why = "int8 is judged by predicted labels, and this model predicts features"
    elif work.truth.tensors is not None:
        why = "int8 is judged on images, and this model's inputs are made by a handler"
    elif not convolutions(work.prepared):
        why = "the model has no convolutions, and only convolutions are quantised"
    if why:
        what = "int8 can't be tried: " if settings.precision == INT8 else ""
        raise ConversionError(f"{what}{why}", hint="convert with precision fp32")


class _Choice:
    """A running choice between int8 and fp32."""

    def __init__(
        self, work: PrecisionInputs, settings: ConvertSettings, images: Int8Images, progress: TrainingProgress
    ) -> None:
        self.work, self.settings, self.images, self.progress = work, settings, images, progress
        self.fp32 = Session(work.fp32)
        self.key = calibration_key(work.prepared, work.source, metadata.version("onnxruntime"))

    def decide(self, asked: Quantisation) -> PrecisionChoice:
        """Select a candidate, assess it, and choose the precision."""
        seen = self._pick()
        picked = seen[-1]
        int8 = Session(picked.model, optimise=False)
        found = self._judge(int8, asked, tuple(map(_trial, seen)))
        evidence = found.evidence
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
            shipped = replace(found, shipped=True, reason=reason)
            return PrecisionChoice(quantisation=shipped, model=picked.model, parity=parity)
        return PrecisionChoice(quantisation=replace(found, reason=reason))

    def _pick(self) -> list[_Candidate]:
        """Score int8 graphs on training images until one is close enough to fp32; the selected one is last.

        If none is, the one that gives fp32's label to the most images is selected; of equal ones the most quantised.
        """
        images, at_most = self.images.picking, self.settings.tolerance_int8
        exact = self._classify(self.fp32, images, "Predicting with fp32")
        seen_images = exact.predicted != UNREADABLE
        seen: list[_Candidate] = []
        for number, (graph, kept) in enumerate(self._make_graphs()):
            model = self.work.folder / f"trial{number}" / MODEL
            model.parent.mkdir()
            write_graph(graph, model, split=self.work.source.split)
            what = f"Predicting with int8, {len(kept)} layers in fp32"
            found = self._classify(Session(model, optimise=False), images, what)
            one = _Candidate(
                model=model,
                kept=kept,
                different=float(np.mean(exact.predicted[seen_images] != found.predicted[seen_images])),
                worst_probability=float(np.max(np.abs(exact.probabilities - found.probabilities))),
            )
            seen.append(one)
            allowed = SHARE_ON_TRAINED * self.settings.max_accuracy_drop / 100
            if one.different <= allowed and one.worst_probability <= at_most:
                return seen
        best = min(seen, key=lambda one: (one.worst_probability > at_most, one.different))
        return [one for one in seen if one is not best] + [best]

    def _make_graphs(self) -> Iterator[tuple[onnx.ModelProto, tuple[str, ...]]]:
        """Yield int8 graphs with the names of the layers that stay fp32, the fastest first; each is made on demand."""
        work = self.work
        previous = find_calibrated(work.previous, self.key)
        reused = reuse_backbone(previous, work.prepared) if previous is not None else None
        if previous is not None and reused is not None:
            yield reused, previous.manifest.quantisation.trials[-1].kept_fp32
        images: list[npt.NDArray[np.uint8]] = []
        model = onnx.ModelProto()
        model.CopyFrom(work.prepared)
        calibration = equalize(model, calibrate(model, self._tensors(images)))
        yield quantize(model, calibration, work.folder), ()
        kept = with_makers(model, rank(model, calibration, images, self.progress)[:KEPT_LAYERS])
        yield quantize(model, calibration, work.folder, keep=kept), kept

    def _tensors(self, images: list[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the input tensors of the calibration images, and add them to `images`."""
        with self.progress.phase("Calibrating", len(self.images.calibration)) as step:
            for path in self.images.calibration:
                step()
                try:
                    images.append(self.work.source.recipe.tensor(path.read_bytes()))
                except ImageError:  # training has left the image out too
                    continue
                yield images[-1]

    def _judge(self, int8: Session, asked: Quantisation, trials: tuple[Trial, ...]) -> Quantisation:
        """Assess the selected candidate, whose trial is the last, on images that the model was not trained on.

        Photos without labels are used only if the labels don't suffice.
        """
        source, labelled = self.work.source, self.images.labelled
        index = {label: number for number, label in enumerate(source.labels)}
        truth = np.array([index[sample.label] for sample in labelled.judged], np.int64)
        paths = [sample.path for sample in labelled.judged]
        groups = [labelled.groups.get(sample.sha256, sample.sha256) for sample in labelled.judged]
        known = [self._classify(*one).predicted for one in self._judging(int8, paths)]
        evidence = self._weigh(truth, known, groups)
        if not evidence.passed and self.images.unlabelled:
            more = self.images.unlabelled
            both = [
                np.concatenate([one, self._classify(*other).predicted])
                for one, other in zip(known, self._judging(int8, more), strict=True)
            ]
            every = np.concatenate([truth, np.full(len(more), NO_LABEL, np.int64)])
            evidence = self._weigh(every, both, [*groups, *map(str, more)])
        seen = known[0] != UNREADABLE
        kept = [name for name, is_seen in zip(groups, seen, strict=True) if is_seen]
        images = JudgedImages.of_names(kept, truth[seen] if source.figure == MEAN_RECALL else None)
        before, after = (images.estimate(one[seen] == truth[seen]) for one in known)
        judged = replace(
            trials[-1],
            judged=True,
            accuracy=after.value,
            interval_95=(after.low, after.high),
            agreement=evidence.agreement,
            drop=before.value - after.value,
        )
        return replace(
            asked,
            images=evidence.labelled_images,
            data_digest=labelled.digest(),
            accuracy_fp32=before.value,
            interval_95_fp32=(before.low, before.high),
            evidence=evidence,
            trials=(*trials[:-1], judged),
            picking_images=len(self.images.picking),
            size_bytes_fp32=_size(self.work.fp32),
            calibration_images=len(self.images.calibration),
            calibration_key=self.key,
        )

    def _judging(self, int8: Session, paths: Sequence[Path]) -> list[tuple[Session, Sequence[Path], str]]:
        return [(self.fp32, paths, f"Judging {FP32}"), (int8, paths, f"Judging {INT8}")]

    def _weigh(
        self, truth: npt.NDArray[np.int64], predicted: Sequence[npt.NDArray[np.int64]], groups: Sequence[str]
    ) -> Evidence:
        """Assess a candidate by what fp32 and it, in this order, predict for the images that can be decoded."""
        seen = predicted[0] != UNREADABLE
        return assess_candidate(
            truth[seen],
            predicted[0][seen],
            predicted[1][seen],
            self.work.source.labels,
            AllowedLoss.of(self.settings),
            groups=[name for name, is_seen in zip(groups, seen, strict=True) if is_seen],
            is_balanced=self.work.source.figure == MEAN_RECALL,
        )

    def _classify(self, session: Session, paths: Sequence[Path], what: str) -> GraphPredictions:
        source = self.work.source
        return classify(session, source.recipe, paths, self.progress, decision=source.decision, what=what)


def classify(
    session: Session,
    recipe: Recipe,
    paths: Sequence[Path],
    progress: TrainingProgress,
    *,
    decision: DecisionRule,
    what: str,
) -> GraphPredictions:
    """Classify images with a session; `what` is the title of the phase.

    Raises:
        ConversionError: There are images, and none can be decoded.
    """
    rows: list[npt.NDArray[np.float32] | None] = []
    with progress.phase(what, len(paths)) as step:
        for path in paths:
            try:
                rows.append(session.run(recipe.tensor(path.read_bytes())[np.newaxis])[1][0])
            except ImageError:  # training has left the image out too
                rows.append(None)
            step()
    width = max((len(row) for row in rows if row is not None), default=0)
    if paths and not width:
        raise ConversionError(
            f"none of the {len(paths)} images can be decoded",
            hint="see the list of unreadable files in the run's report.html",
        )
    nothing = np.zeros(width, np.float32)
    return GraphPredictions(
        predicted=np.array([UNREADABLE if row is None else decision.choose(row) for row in rows], np.int64),
        probabilities=np.array([nothing if row is None else row for row in rows], np.float32).reshape(len(rows), width),
    )


def _trial(seen: _Candidate) -> Trial:
    """Return the manifest's record of a candidate that was scored on training images, but not assessed."""
    return Trial(judged=False, kept_fp32=seen.kept, picking_agreement=1 - seen.different, size_bytes=_size(seen.model))


def _size(model: Path) -> int:
    return sum(path.stat().st_size for path in model.parent.rglob("*") if path.is_file())
