"""Computes figures of a model from its answers to labelled images, and compares two models on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.evaluation.images import LabelledImages, check_labels
from converters.evaluation.models import NO_LABEL, EvaluatedModel, ImagePrediction
from eaves.artifact.manifest import ANOMALOUS
from eaves.errors import ArtifactError, DatasetError, InputError
from trainer.calibration import calibration_error
from trainer.data.dataset import is_imbalanced
from trainer.data.listing import DataFault, LabelledImage
from trainer.grouped_statistics import CONFIDENCE, JudgedImages
from trainer.model.anomaly import measure_kinds
from trainer.progress import TrainingProgress
from trainer.run import ACCURACY, MEAN_RECALL
from trainer.run.metrics import summarize
from trainer.run.model_quality import ModelQuality, describe_evaluated, rate_model
from trainer.settings import TrainSettings

MAX_MISTAKES = 24
"""Maximum number of wrongly classified images that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Answers of a model to labelled images, and the figures computed from them.

    Attributes:
        name: Name of the model, for people.
        kind: Kind of the model: `run`, `artifact` or `function`.
        images: Images that the model answered.
        answers: Answer to each of these images.
        refused: Images that the model could not read; they count neither as right nor as wrong.
        measured: Accuracy with its interval, confusion matrix and figures by class, the result of
            `trainer.run.metrics.summarize`.
        maybe_trained_on: Whether the model may have been trained on some of the images.
    """

    name: str
    kind: str
    images: tuple[LabelledImage, ...]
    answers: tuple[ImagePrediction, ...]
    refused: tuple[DataFault, ...]
    measured: dict[str, Any]
    maybe_trained_on: bool = False

    @property
    def is_balanced(self) -> bool:
        """Whether the figure is the mean recall."""
        return bool(self.measured["figure"]["name"] == MEAN_RECALL)

    @property
    def accuracy(self) -> float:
        """Value of the figure: the share of the images that were answered correctly, or the mean recall."""
        return float(self.measured["figure"]["value"])

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the figure."""
        low, high = self.measured["figure"]["interval_95"]
        return float(low), float(high)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0 to 1."""
        right = [image.label == answer.label for image, answer in zip(self.images, self.answers, strict=True)]
        return calibration_error(np.clip([answer.score for answer in self.answers], 0.0, 1.0), np.array(right))

    @property
    def quality(self) -> ModelQuality:
        """Rating of the model on these images, measured against the default of `train.usable_accuracy`."""
        known = {name: figures for name, figures in self.measured["per_class"].items() if name != NO_LABEL}
        measured = {**self.measured, "per_class": known}
        quality = rate_model(measured, usable_accuracy=TrainSettings().usable_accuracy)
        return describe_evaluated(quality, maybe_trained_on=self.maybe_trained_on)

    def times_ms(self) -> dict[str, float]:
        """Return the median and the 95th percentile of milliseconds per image, without the first image (warm-up)."""
        times = [answer.time_ms for answer in self.answers[1:] or self.answers]
        return {"median": round(float(np.median(times)), 2), "p95": round(float(np.percentile(times, 95)), 2)}

    def mistakes(self) -> list[tuple[LabelledImage, ImagePrediction]]:
        """Return the wrong answers, the highest score first, at most `MAX_MISTAKES`."""
        pairs = zip(self.images, self.answers, strict=True)
        wrong = [(image, answer) for image, answer in pairs if image.label != answer.label]
        return sorted(wrong, key=lambda pair: -pair[1].score)[:MAX_MISTAKES]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain data for JSON."""
        plain = {name.removeprefix("val_"): value for name, value in self.measured.items()}
        return {
            "model": self.name,
            "kind": self.kind,
            **plain,
            "verdict": self.quality.to_dict(),
            "calibration_error": self.calibration_error,
            "time_ms": self.times_ms(),
            "mistakes": [
                {"file": image.name, "label": image.label, "predicted": answer.label, "score": answer.score}
                for image, answer in self.mistakes()
            ],
            "refused": [asdict(item) for item in self.refused],
        }


def evaluate(model: EvaluatedModel, found: LabelledImages, progress: TrainingProgress) -> Evaluation:
    """Evaluate a model on every image.

    Args:
        model: The model to evaluate.
        found: The labelled images.
        progress: Receives one step for each image.

    Raises:
        DatasetError: The images have classes that the model doesn't know, or the model can read none of them.
        ArtifactError: A score is not a finite number.
        EavesError: The model can't answer.
    """
    if model.labels and not found.is_audit:
        check_labels(found.labels, model.labels, model.name)
    images: list[LabelledImage] = []
    answers: list[ImagePrediction] = []
    refused: list[DataFault] = []
    with progress.phase(f"Predicting with the {model.kind}", len(found.images)) as step:
        for image in found.images:
            try:
                answer = model.classify(image.path.read_bytes())
            except InputError as error:
                refused.append(DataFault(file=image.name, reason=error.message))
            except OSError as error:
                refused.append(DataFault(file=image.name, reason=f"the file can't be read: {error.strerror}"))
            else:
                if not math.isfinite(answer.score):
                    message = f"{model.name} answered {image.name} with the score {answer.score}"
                    raise ArtifactError(
                        f"{message}, which is not a finite number",
                        hint="train the model again; if a handler computes the scores, correct it",
                    )
                images.append(image)
                answers.append(answer)
            step()
    if not answers:
        why = (
            f"none of the {len(refused)} images can be read: {refused[0].reason}" if refused else "there are no images"
        )
        raise DatasetError(why)
    return Evaluation(
        name=model.name,
        kind=model.kind,
        images=tuple(images),
        answers=tuple(answers),
        refused=tuple(refused),
        measured=_measure(model, images, answers),
        maybe_trained_on=found.maybe_trained_on,
    )


def _measure(
    model: EvaluatedModel, images: Sequence[LabelledImage], answers: Sequence[ImagePrediction]
) -> dict[str, Any]:
    labels = list(model.labels)
    labels += sorted({*(image.label for image in images), *(answer.label for answer in answers)} - set(labels))
    index = {label: number for number, label in enumerate(labels)}
    truth = np.array([index[image.label] for image in images], dtype=np.int64)
    predicted = np.array([index[answer.label] for answer in answers], dtype=np.int64)
    is_balanced = model.is_balanced
    if is_balanced is None:
        is_balanced = is_imbalanced(np.unique(truth, return_counts=True)[1].tolist())
    measured = summarize(
        truth,
        predicted,
        labels,
        groups=[image.group_name for image in images],
        is_balanced=is_balanced,
    )
    if model.good:
        scores, alarms = np.array([answer.score for answer in answers]), predicted == index[ANOMALOUS]
        measured["kinds"] = measure_kinds(images, scores, alarms)
    return measured


TWO_SIDED = 0.975
"""Confidence of each one-sided bound of a two-sided 95 % interval."""

Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An image that the two models answer differently."""

    image: LabelledImage
    first: ImagePrediction
    second: ImagePrediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Difference of the second model from the first, on the images that both answered.

    Attributes:
        judged: The images: their groups, and their classes if the models are judged by the mean recall.
        first: (N,) bool, whether the first model answers each image correctly.
        second: (N,) bool, whether the second model does.
        differing: Images that got two different labels.
        figure: Name of the figure that is compared: `accuracy` or `mean recall`.
    """

    judged: JudgedImages
    first: Right
    second: Right
    differing: tuple[Difference, ...] = ()
    figure: str = ACCURACY

    @property
    def images(self) -> int:
        """Number of images that both answered."""
        return len(self.first)

    @property
    def lost(self) -> int:
        """Number of images that only the first model answers correctly."""
        return self.count(first=True, second=False)

    @property
    def gained(self) -> int:
        """Number of images that only the second model answers correctly."""
        return self.count(first=False, second=True)

    def count(self, *, first: bool, second: bool) -> int:
        """Return the number of images that the models answer correctly, or not, as named."""
        return int(((self.first == first) & (self.second == second)).sum())

    @property
    def difference(self) -> float:
        """Figure of the second model less that of the first."""
        return self.judged.average(self.second.astype(np.float64) - self.first)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the difference."""
        return -self.bound_drop(TWO_SIDED), self.judged.bound_drop(self.second, self.first, TWO_SIDED)

    def bound_drop(self, confidence: float = CONFIDENCE) -> float:
        """Return the one-sided upper bound of the figure that the second model loses, a fraction of 1."""
        return self.judged.bound_drop(self.first, self.second, confidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data for JSON."""
        return {
            "images": self.images,
            "groups": len(np.unique(self.judged.groups)),
            "figure": self.figure,
            "both_right": self.count(first=True, second=True),
            "only_first_right": self.lost,
            "only_second_right": self.gained,
            "both_wrong": self.count(first=False, second=False),
            "difference": self.difference,
            "difference_interval_95": list(self.interval),
            "differing": [
                {"file": item.image.name, "label": item.image.label, "first": item.first.label}
                | {"second": item.second.label}
                for item in self.differing
            ],
        }


def pair(first: Evaluation, second: Evaluation) -> Pairing:
    """Compare two evaluations on the images that both answered, by the figure of the second.

    Raises:
        DatasetError: No image was answered by both models.
    """
    others = dict(zip(second.images, second.answers, strict=True))
    both = [
        Difference(image=image, first=answer, second=others[image])
        for image, answer in zip(first.images, first.answers, strict=True)
        if image in others
    ]
    if not both:
        raise DatasetError("the models can't be compared: no image can be read by both")
    labels = sorted({item.image.label for item in both})
    strata = np.array([labels.index(item.image.label) if second.is_balanced else 0 for item in both], np.int64)
    return Pairing(
        judged=JudgedImages([item.image.group_name for item in both], strata),
        first=np.array([item.first.label == item.image.label for item in both]),
        second=np.array([item.second.label == item.image.label for item in both]),
        differing=tuple(item for item in both if item.first.label != item.second.label),
        figure=MEAN_RECALL if second.is_balanced else ACCURACY,
    )
