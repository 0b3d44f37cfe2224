"""Opens the models that are evaluated: a run or an artifact.

TensorFlow and onnxruntime are imported only by the kind of model that needs them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from eaves.artifact import open_artifact
from eaves.artifact.manifest import CLASSIFY
from eaves.errors import ArtifactError
from trainer.evaluation import MEAN_RECALL
from trainer.run.run import open_run
from trainer.tensorflow_notices import native_stderr

NO_LABEL = "(no label)"
"""Label of an answer of a handler.py that names no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """Answer of a model to one image.

    Attributes:
        label: Name of the class that the model gives the image.
        score: Score of that class, 0 to 1.
        time_ms: Milliseconds from the encoded image to the answer.
    """

    label: str
    score: float
    time_ms: float


class EvaluatedModel(Protocol):
    """A model that classifies images one after the other.

    Attributes:
        name: Name of the model, for people.
        kind: Kind of the model: `run` or `artifact`.
        labels: Class names in the order of the outputs.
        trained_on: sha256 of the images that the model was trained on, hex; None when they are not known.
        run: Directory of the run; None for an artifact.
        is_balanced: Whether the model is judged by its mean recall, because classes counted alike in its training; None
            when that is not known: then it is if the images' classes are unequal.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    trained_on: frozenset[str] | None
    run: Path | None
    is_balanced: bool | None

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image.

        Raises:
            InputError: The image can't be read, which is not the model's fault.
            EavesError: The model can't answer.
        """
        ...


def open_model(place: str) -> EvaluatedModel:
    """Open the model in a directory.

    Raises:
        ArtifactError: `place` is neither a run nor an artifact, or it is an artifact that does not classify.
        RunError: The run is damaged.
    """
    if (Path(place) / "manifest.json").is_file():
        return ArtifactModel(Path(place))
    if (Path(place) / "run.json").is_file():
        with native_stderr():  # TensorFlow's libraries write to stderr
            return RunModel(Path(place))
    raise ArtifactError(f"{place} is neither a run nor an artifact", hint="name a directory in runs/ or artifacts/")


class ArtifactModel:
    """An artifact that is evaluated in this process on one thread; its handler.py runs too, as in a function.

    Args:
        path: Directory of the artifact.

    Raises:
        ArtifactError: The artifact is damaged, or its task is not `classify`.
    """

    kind = "artifact"
    trained_on: frozenset[str] | None = None
    run: Path | None = None

    def __init__(self, path: Path) -> None:
        from eaves.inference.handler import load_handler
        from eaves.inference.session import open_session
        from functions.model.pipeline import open_predictor
        from functions.settings import ServeSettings

        artifact = open_artifact(path)
        found = artifact.manifest
        if found.task != CLASSIFY:
            raise ArtifactError(
                f"{path} can't be evaluated: its task is {found.task}, which does not predict classes",
                hint="name an artifact of the task classify",
            )
        self.name = f"{path.name} ({found.name} {found.version})"
        self.labels = found.labels
        figure = found.source.figure
        self.is_balanced: bool | None = figure == MEAN_RECALL if figure else None
        settings = ServeSettings(top_k=1, threshold=0.0)
        self._predictor = open_predictor(artifact, open_session(artifact), settings, load_handler(artifact))

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image."""
        started = time.perf_counter()
        prediction = self._predictor.predict(data)
        time_ms = (time.perf_counter() - started) * 1000
        return read_best(prediction.payload.get("predictions"), time_ms)


def read_best(predictions: object, time_ms: float) -> ImagePrediction:
    """Read the best answer from a reply's `predictions`, which are sorted with the best first.

    Raises:
        ArtifactError: The predictions aren't a list of labels with scores.
    """
    if predictions == []:
        return ImagePrediction(label=NO_LABEL, score=0.0, time_ms=time_ms)
    try:
        best = predictions[0]  # type: ignore[index] # a handler may answer anything
        return ImagePrediction(label=str(best["label"]), score=float(best["score"]), time_ms=time_ms)
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"the handler's answer has no list of predictions: {str(predictions)[:100]}",
            hint="evaluate a model of the task classify",
        ) from error


class RunModel:
    """A run's SavedModel that is evaluated in this process.

    Args:
        path: Directory of the run.

    Raises:
        RunError: The run isn't complete, or is damaged.
    """

    kind = "run"

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        run = open_run(path)
        self.name = f"{path.name} ({run.name} {run.version})"
        self.labels = run.labels
        self.run: Path | None = path
        self.is_balanced: bool | None = run.is_balanced
        split = run.split() or {}
        self.trained_on: frozenset[str] | None = frozenset(
            digest for digest, entry in split.items() if entry.split == "train"
        )
        self._recipe, self._constant = run.recipe, tf.constant
        self._model = tf.saved_model.load(str(run.saved_model))  # the signature lives only as long as its model
        self._serve = self._model.signatures["serving_default"]

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image."""
        started = time.perf_counter()
        tensor = self._recipe.tensor(data)[np.newaxis]
        outputs = self._serve(image=self._constant(tensor))
        logits, probabilities = (outputs[name].numpy()[0] for name in ("logits", "probabilities"))
        time_ms = (time.perf_counter() - started) * 1000
        best = int(np.argmax(logits))  # scores may be corrected for class weights, which changes no label
        return ImagePrediction(label=self.labels[best], score=float(probabilities[best]), time_ms=time_ms)
