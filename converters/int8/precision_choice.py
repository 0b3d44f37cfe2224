"""Chooses int8 or fp32: selects one of two int8 graphs on training images and assesses it on unseen images.

If the graph were selected on the images that it is assessed on, a bad one would ship more often. Therefore only the
selected graph is run on those images, and the assessment needs no correction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from converters.int8.equalizer import calibrate, equalize
from converters.int8.evidence import NO_LABEL, assess_candidate, explain, explain_difference
from converters.int8.images import Int8Images, find_images
from converters.int8.quantizer import RANKING_IMAGES, convolutions, quantize, rank, with_makers
from converters.model_source import ModelSource
from converters.onnx.graph import is_head, write_graph
from converters.proof import Answers, compare, run_session
from converters.settings import ConvertSettings
from converters.staging import is_intact
from eaves.artifact import Artifact, Parity, Quantisation, Trial
from eaves.artifact.manifest import EMBED, FP32, INT8, PROBABILITIES, TENSOR, Evidence
from eaves.artifact.store import MODEL
from eaves.errors import ConversionError, ImageError
from eaves.inference.session import Session
from trainer.grouped_statistics import JudgedImages
from trainer.progress import TrainingProgress
from trainer.run import MEAN_RECALL

KEPT_LAYERS = 3
"""Number of the most sensitive layers that stay fp32 in the second graph, with the layers that make their inputs. On
Inception V3 and flowers, 3 of them raise the agreement with fp32 from 93 to 98 %, and take a quarter of fp32's time."""
SHARE_ON_TRAINED = 0.25
"""Factor of the allowed loss of accuracy; the product is the largest share of training images on which int8 may give
another label than fp32. It is small, because a network is more certain about images that it was trained on: int8 with
7-bit weights of Inception V3 on flowers gave another label on 1.5 % of the training images and on 6.7 % of other
images."""
QUANTISER_VERSION = 1
"""Version of the quantiser; it is raised with each change that makes another int8 graph of the same backbone and
images."""
Predicted = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


PrecisionChoice = tuple[Quantisation, Path | None, Parity | None]
"""Decision for or against int8 with its reason and the measurements of all candidates; path of the int8 graph, None if
fp32 ships; and parity of the int8 graph with the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionChooser:
    """A choice between int8 and fp32.

    Attributes:
        source: The model to convert.
        settings: Settings of the conversion.
        progress: Receives the phases and their steps.
        prepared: Prepared graph of the model.
        fp32: Path of the fp32 graph as it would be served.
        samples: Encoded images for the parity proof.
        truth: Outputs of the original for these images.
        previous: Artifacts whose parts may be reused.
        folder: Folder for intermediate files and the chosen graph.
        cache: Local folder for labelled images that are downloaded or unpacked.
    """

    source: ModelSource
    settings: ConvertSettings
    progress: TrainingProgress
    prepared: onnx.ModelProto
    fp32: Path
    samples: tuple[Path, ...]
    truth: Answers
    previous: tuple[Artifact, ...]
    folder: Path
    cache: Path

    def choose(self) -> PrecisionChoice:
        """Choose the precision by measurements.

        Raises:
            ConversionError: Int8 is asked for and answers the samples too differently, or can't be tried.
        """
        settings = self.settings
        asked = Quantisation(asked=settings.precision, max_accuracy_drop=settings.max_accuracy_drop / 100)
        if settings.precision == FP32:
            return replace(asked, reason="convert.precision is fp32"), None, None
        why = ""
        if self.source.task == TENSOR:
            why = "it is judged on labelled images, and this model does not take images"
        elif self.source.task == EMBED:
            why = "int8 is judged by predicted labels, and this model predicts features"
        elif self.truth.tensors:
            why = "int8 is judged on images, and this model's inputs are made by a handler"
        elif not convolutions(self.prepared):
            why = "the model has no convolutions, and only convolutions are quantised"
        try:
            if why:
                what = "int8 can't be tried: " if settings.precision == INT8 else ""
                raise ConversionError(f"{what}{why}", hint="convert with precision fp32")
            images = find_images(self.source, settings, self.cache, self.progress)
            return self._decide(asked, images)
        except (ConversionError, ImageError) as error:
            if settings.precision == INT8:
                raise
            return replace(asked, reason=f"int8 was not tried: {error.message}"), None, None

    def _decide(self, asked: Quantisation, images: Int8Images) -> PrecisionChoice:
        """Select a candidate, assess it, and choose the precision."""
        settings, source, fp32 = self.settings, self.source, Session(self.fp32)
        key = calibration_key(self.prepared, source, metadata.version("onnxruntime"))
        trials, model = self._pick(fp32, images, key)
        int8 = Session(model, optimise=False)
        asked = replace(
            asked,
            data_digest=images.digest(),
            picking_images=len(images.picking),
            size_bytes_fp32=_size(self.fp32),
            calibration_images=len(images.calibration),
            calibration_key=key,
        )
        found = self._judge(fp32, int8, images, asked, trials)
        evidence = found.evidence
        answers = run_session(int8, source, self.samples, self.truth)
        parity, worst = compare(
            answers,
            self.truth,
            source,
            settings.tolerance_int8,
            agreement=settings.agreement_int8,
            probabilities_only=True,
        )
        reason = explain(evidence, found.max_accuracy_drop)
        if not parity.passed:
            reason = explain_difference(parity, worst)
            if settings.precision == INT8:
                raise ConversionError(
                    f"int8 can't be used: {reason}",
                    hint="convert with precision fp32, or allow more with convert.tolerance_int8",
                )
        elif evidence.passed or settings.precision == INT8:
            if not evidence.passed:
                reason = f"int8 was required by convert.precision, although the evidence does not suffice: {reason}"
            return replace(found, shipped=True, reason=reason), model, parity
        return replace(found, reason=reason), None, None

    def _pick(self, fp32: Session, images: Int8Images, key: str) -> tuple[tuple[Trial, ...], Path]:
        """Score int8 graphs on training images until one is close enough to fp32; its trial is the last.

        If none is, the one that gives fp32's label to the most images is selected; of equal ones the most quantised.
        """
        at_most, allowed = self.settings.tolerance_int8, SHARE_ON_TRAINED * self.settings.max_accuracy_drop / 100
        exact, likely = classify(fp32, self.source, images.picking, self.progress, "Predicting with fp32")
        seen: list[tuple[bool, float, Trial, Path]] = []
        for number, (graph, kept) in enumerate(self._make_graphs(images, key)):
            model = self.folder / f"trial{number}" / MODEL
            model.parent.mkdir()
            write_graph(graph, model, split=self.source.split)
            what = f"Predicting with int8, {len(kept)} layers in fp32"
            found, scores = classify(Session(model, optimise=False), self.source, images.picking, self.progress, what)
            different = float(np.mean(exact != found))
            trial = Trial(judged=False, kept_fp32=kept, picking_agreement=1 - different, size_bytes=_size(model))
            is_far = float(np.max(np.abs(likely - scores))) > at_most
            seen.append((is_far, different, trial, model))
            if different <= allowed and not is_far:
                break
        else:
            best = min(seen, key=lambda one: one[:2])
            seen = [one for one in seen if one is not best] + [best]
        return tuple(trial for _, _, trial, _ in seen), seen[-1][3]

    def _make_graphs(self, images: Int8Images, key: str) -> Iterator[tuple[onnx.ModelProto, tuple[str, ...]]]:
        """Yield int8 graphs with the names of the layers that stay fp32, the fastest first; each is made on demand."""
        previous = find_calibrated(self.previous, key)
        reused = reuse_backbone(previous, self.prepared) if previous is not None else None
        if previous is not None and reused is not None:
            yield reused, previous.manifest.quantisation.trials[-1].kept_fp32
        model = onnx.ModelProto()
        model.CopyFrom(self.prepared)
        with self.progress.phase("Calibrating", len(images.calibration)) as step:
            calibration = equalize(model, calibrate(model, map(self._read, images.calibration), step))
        yield quantize(model, calibration, self.folder), ()
        tensors = [self._read(path) for path in images.calibration[:RANKING_IMAGES]]
        kept = with_makers(model, rank(model, calibration, tensors, self.progress)[:KEPT_LAYERS])
        yield quantize(model, calibration, self.folder, keep=kept), kept

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        return self.source.recipe.tensor(path.read_bytes())

    def _judge(
        self, fp32: Session, int8: Session, images: Int8Images, asked: Quantisation, trials: tuple[Trial, ...]
    ) -> Quantisation:
        """Assess the selected candidate, whose trial is the last, on images that the model was not trained on.

        Photos without labels are used only if the labels don't suffice.
        """
        is_balanced = self.source.figure == MEAN_RECALL

        def predict(paths: Sequence[Path]) -> list[Predicted]:
            graphs = (fp32, f"Judging {FP32}"), (int8, f"Judging {INT8}")
            return [classify(session, self.source, paths, self.progress, title)[0] for session, title in graphs]

        def assess(truth: Predicted, predicted: Sequence[Predicted], groups: Sequence[str]) -> Evidence:
            exact, rounded = predicted
            return assess_candidate(
                truth, exact, rounded, self.source.labels, self.settings, groups=groups, is_balanced=is_balanced
            )

        truth = np.array([self.source.labels.index(image.label) for image in images.judged], np.int64)
        groups = [image.group for image in images.judged]
        known = predict([image.path for image in images.judged])
        evidence = assess(truth, known, groups)
        if not evidence.passed and (more := images.unlabelled):
            every = np.concatenate([truth, np.full(len(more), NO_LABEL, np.int64)])
            both = [np.concatenate(pair) for pair in zip(known, predict(more), strict=True)]
            evidence = assess(every, both, [*groups, *map(str, more)])
        judged = JudgedImages(groups, truth if is_balanced else None)
        before, after = (judged.estimate(one == truth) for one in known)
        last = replace(
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
            accuracy_fp32=before.value,
            interval_95_fp32=(before.low, before.high),
            evidence=evidence,
            trials=(*trials[:-1], last),
        )


def classify(
    session: Session, source: ModelSource, paths: Sequence[Path], progress: TrainingProgress, title: str
) -> tuple[Predicted, Scores]:
    """Return the index of the label that a session predicts for each image, (N,), and the probabilities, (N, classes).

    Raises:
        ImageError: An image can't be decoded at the size of the model's input.
    """
    rows = []
    with progress.phase(title, len(paths)) as step:
        for path in paths:
            batch = source.recipe.tensor(path.read_bytes())[np.newaxis]
            rows.append(session.answer(batch)[PROBABILITIES][0])
            step()
    probabilities = np.asarray(rows, np.float32).reshape(len(rows), len(source.labels))
    return np.asarray(source.decision.choose(probabilities), np.int64), probabilities


def calibration_key(model: onnx.ModelProto, source: ModelSource, runtime: str) -> str:
    """Return the digest of everything that an int8 backbone depends on: the fp32 backbone and the rounding.

    Args:
        model: Prepared graph; the result doesn't depend on its head.
        source: The model with its recipe.
        runtime: Version of onnxruntime.
    """
    digest = hashlib.sha256(f"{QUANTISER_VERSION} {runtime} {source.recipe.digest()}\n".encode())
    for node in model.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        digest.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
        if not is_head(tensor.name):
            digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()


def find_calibrated(previous: Sequence[Artifact], key: str) -> Artifact | None:
    """Return the artifact whose int8 backbone was made from the same inputs, whatever its name and head are."""
    for artifact in previous:
        found = artifact.manifest.quantisation
        if (
            artifact.manifest.precision == INT8
            and found.calibration_key == key
            and found.trials
            and is_intact(artifact)
        ):
            return artifact
    return None


def reuse_backbone(previous: Artifact, model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a previous artifact's int8 graph with a new head; None when the heads have different shapes.

    Args:
        previous: Result of `find_calibrated`.
        model: Prepared graph of the new model.
    """
    reused = onnx.load(str(previous.model_path))
    old = [tensor for tensor in reused.graph.initializer if is_head(tensor.name)]
    new = [tensor for tensor in model.graph.initializer if is_head(tensor.name)]
    if [(list(tensor.dims), tensor.data_type) for tensor in old] != [(list(t.dims), t.data_type) for t in new]:
        return None
    for tensor, fresh in zip(old, new, strict=True):
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(fresh), tensor.name))
    return reused


def _size(model: Path) -> int:
    return sum(path.stat().st_size for path in model.parent.rglob("*") if path.is_file())
