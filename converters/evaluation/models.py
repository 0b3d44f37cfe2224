"""Opens the models that are evaluated: a run or an artifact.

TensorFlow and onnxruntime are imported only by the kind of model that needs them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eaves.artifact import open_artifact
from eaves.artifact.manifest import ANOMALY, CLASSIFY, MAP
from eaves.artifact.store import file_digest
from eaves.errors import ArtifactError
from trainer.data.splitting import find_trained, load_split
from trainer.run import MEAN_RECALL
from trainer.run.run import MANIFEST, open_run
from trainer.tensorflow_notices import import_tensorflow, native_stderr

NO_LABEL = "(no label)"
"""Label of an answer that names no class: no score reaches a function's threshold, or a handler.py names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """Answer of a model to one image.

    Attributes:
        label: Name of the class that the model gives the image.
        score: Score of that class, 0 to 1; for the task `anomaly`, how unusual the image is.
        time_ms: Milliseconds from the encoded image to the answer.
    """

    label: str
    score: float
    time_ms: float


class EvaluatedModel(ABC):
    """A model that classifies images one after the other.

    Attributes:
        name: Name of the model, for people.
        kind: Kind of the model: `run` or `artifact`.
        labels: Class names in the order of the outputs; empty when they are not known.
        trained_on: sha256 of the images that the model was trained on, hex; None when they are not known.
        run: Directory of the run; None for an artifact.
        run_digest: sha256 of the `run.json` of the run that the model is or was converted from, hex; empty if unknown.
        version: Version of the artifact; empty for a run, which lists its training images itself.
        good: Name of the class of good images, for the task `anomaly`; else empty.
        is_balanced: Whether the model is judged by its mean recall, because classes counted alike in its training; None
            when that is not known: then it is if the images' classes are unequal.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    trained_on: frozenset[str] | None = None
    run: Path | None = None
    run_digest = ""
    version = ""
    good = ""
    is_balanced: bool | None = None

    @abstractmethod
    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image.

        Raises:
            InputError: The image can't be read, which is not the model's fault.
            EavesError: The model can't answer.
        """


def open_model(folder: Path) -> EvaluatedModel:
    """Open the model in the directory of a run or of an artifact.

    Raises:
        ArtifactError: The directory is neither, or it is an artifact that does not classify.
        RunError: The run is damaged.
    """
    if (folder / "manifest.json").is_file():
        return ArtifactModel(folder)
    if (folder / "run.json").is_file():
        with native_stderr():  # TensorFlow's libraries write to stderr
            return RunModel(folder)
    raise ArtifactError(f"{folder} is neither a run nor an artifact", hint="name a directory in runs/ or artifacts/")


class ArtifactModel(EvaluatedModel):
    """An artifact that is evaluated in this process on one thread; its handler.py runs too, as in a function.

    Args:
        path: Directory of the artifact.

    Raises:
        ArtifactError: The artifact is damaged, or its task is neither `classify` nor `anomaly`.
    """

    kind = "artifact"

    def __init__(self, path: Path) -> None:
        from eaves.inference.handler import load_handler
        from eaves.inference.session import open_session
        from functions.pipeline import open_predictor
        from functions.settings import ServeSettings

        artifact = open_artifact(path)
        found = artifact.manifest
        if found.task not in (CLASSIFY, ANOMALY):
            raise ArtifactError(
                f"{path} can't be evaluated: its task is {found.task}, which does not predict classes",
                hint="name an artifact of the task classify or anomaly",
            )
        self.name = f"{path.name} ({found.name} {found.version})"
        self.labels = found.labels
        self.good = found.anomaly.good if found.anomaly else ""
        figure = found.source.figure
        self.is_balanced = figure == MEAN_RECALL if figure else None
        self.version = found.version
        self.run_digest = found.source.digest if found.source.route == "run" else ""
        settings = ServeSettings(top_k=1, threshold=0.0)
        self._predictor = open_predictor(artifact, open_session(artifact), settings, load_handler(artifact))

    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image."""
        started = time.perf_counter()
        prediction = self._predictor.predict(data)
        time_ms = (time.perf_counter() - started) * 1000
        payload = prediction.payload
        return read_best([payload] if self.good and "label" in payload else payload.get("predictions"), time_ms)


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


class RunModel(EvaluatedModel):
    """A run's SavedModel that is evaluated in this process.

    Args:
        path: Directory of the run.

    Raises:
        RunError: The run isn't complete, or is damaged.
    """

    kind = "run"

    def __init__(self, path: Path) -> None:
        import_tensorflow()
        import tensorflow as tf

        run = open_run(path)
        self.name = f"{path.name} ({run.name} {run.version})"
        self.labels = run.labels
        self.run = path
        self.good = run.metrics()["anomaly"]["rule"]["good"] if run.task == ANOMALY else ""
        self.run_digest = file_digest(path / MANIFEST)
        self.is_balanced = run.is_balanced
        self.trained_on = find_trained(load_split(path))
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
        score = outputs[MAP].numpy().max() if self.good else probabilities[best]
        return ImagePrediction(label=self.labels[best], score=float(score), time_ms=time_ms)
