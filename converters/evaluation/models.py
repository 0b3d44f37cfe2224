"""Opens the models that are evaluated: a run, an artifact or a running function.

TensorFlow and onnxruntime are imported only by the kind of model that needs them.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eaves.artifact import open_artifact
from eaves.artifact.manifest import CLASSIFY
from eaves.artifact.store import file_digest
from eaves.base.clock import StopFlag
from eaves.errors import ArtifactError, DeliveryError, ImageError
from eaves.media_type import UNKNOWN, sniff
from eaves.problem_document import parse_problem
from trainer.data.splitting import find_trained, load_split
from trainer.run import MEAN_RECALL
from trainer.run.run import MANIFEST, open_run
from trainer.tensorflow_notices import native_stderr

if TYPE_CHECKING:
    from eaves.delivery.sender import SinkClient

NO_LABEL = "(no label)"
"""Label of an answer that names no class: no score reaches a function's threshold, or a handler.py names none."""
ANSWER_S = 120.0
"""Seconds to wait for a function's answer; one that starts from zero first loads its model."""
BUSY_S = 60.0
"""Maximum seconds for which an image is sent again while a function has no capacity."""
RETRY_S = 1.0
BUSY = (429, 503)
REFUSED = (400, 413, 415, 422)
"""HTTP statuses of a function that can't use the image."""


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


class EvaluatedModel(ABC):
    """A model that classifies images one after the other.

    Attributes:
        name: Name of the model, for people.
        kind: Kind of the model: `run`, `artifact` or `function`.
        labels: Class names in the order of the outputs; empty when they are not known.
        trained_on: sha256 of the images that the model was trained on, hex; None when they are not known.
        run: Directory of the run; None for an artifact or a function.
        run_digest: sha256 of the `run.json` of the run that the model is or was converted from, hex; empty if unknown.
        proof: What the conversion of an artifact measured against the model that it was made from, in one sentence
            without a full stop; empty for other models.
        is_balanced: Whether the model is judged by its mean recall, because classes counted alike in its training; None
            when that is not known: then it is if the images' classes are unequal.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    trained_on: frozenset[str] | None = None
    run: Path | None = None
    run_digest = ""
    proof = ""
    is_balanced: bool | None = None

    @abstractmethod
    def classify(self, data: bytes) -> ImagePrediction:
        """Classify one encoded image.

        Raises:
            InputError: The image can't be read, which is not the model's fault.
            EavesError: The model can't answer.
        """


def open_model(place: str, client: SinkClient, authorization: Mapping[str, str]) -> EvaluatedModel:
    """Open the model in a directory or at a URL.

    Args:
        place: Directory of a run or of an artifact, or the URL of a running function.
        client: HTTP client that posts images to a URL.
        authorization: Headers that are sent to a URL, which may hold a token.

    Raises:
        ArtifactError: `place` is none of these, or it is an artifact that does not classify.
        RunError: The run is damaged.
    """
    if place.startswith(("http://", "https://")):
        return FunctionModel(place, client, authorization)
    if (Path(place) / "manifest.json").is_file():
        return ArtifactModel(Path(place))
    if (Path(place) / "run.json").is_file():
        with native_stderr():  # TensorFlow's libraries write to stderr
            return RunModel(Path(place))
    raise ArtifactError(
        f"{place} is neither a run, nor an artifact, nor a URL",
        hint="name a directory in runs/ or artifacts/, or the URL of a function",
    )


def describe_proof(models: Sequence[EvaluatedModel]) -> str:
    """Say of an artifact and the run it was made from that they belong together; empty for other models."""
    runs = {model.run_digest for model in models if model.run}
    own = [model for model in models if model.proof and model.run_digest in runs]
    return f"the artifact {own[0].name} was made from this run; {own[0].proof}" if own else ""


class ArtifactModel(EvaluatedModel):
    """An artifact that is evaluated in this process on one thread; its handler.py runs too, as in a function.

    Args:
        path: Directory of the artifact.

    Raises:
        ArtifactError: The artifact is damaged, or its task is not `classify`.
    """

    kind = "artifact"

    def __init__(self, path: Path) -> None:
        from eaves.inference.handler import load_handler
        from eaves.inference.session import open_session
        from functions.pipeline import open_predictor
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
        self.is_balanced = figure == MEAN_RECALL if figure else None
        self.run_digest = found.source.digest if found.source.route == "run" else ""
        proof, int8 = found.parity, found.quantisation
        self.proof = (
            f"its proof on {proof.images} images: the labels agree on {proof.top1_agreement:.1%}, and a probability "
            f"differs by {proof.max_abs_error_probabilities:.2g} at most"
            + (f" ({int8.reason})" if int8.shipped else "")
        )
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


class RunModel(EvaluatedModel):
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
        self.run = path
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
        return ImagePrediction(label=self.labels[best], score=float(probabilities[best]), time_ms=time_ms)


class FunctionModel(EvaluatedModel):
    """A running function that images are posted to.

    Args:
        url: URL of the function.
        client: HTTP client that posts the images.
        authorization: Headers that are sent with each image.
    """

    kind = "function"

    def __init__(self, url: str, client: SinkClient, authorization: Mapping[str, str]) -> None:
        self.name = url
        self._client = client
        self._authorization = authorization

    def classify(self, data: bytes) -> ImagePrediction:
        """Post one encoded image; a function without capacity is asked again for up to `BUSY_S`."""
        media_type = sniff(data)
        headers = {"Content-Type": "image/*" if media_type == UNKNOWN else media_type, **self._authorization}
        end = time.monotonic() + BUSY_S
        while True:
            answer = self._client.request("POST", self.name, headers=headers, body=data, timeout_s=ANSWER_S)
            if answer.status not in BUSY or time.monotonic() + RETRY_S > end:
                break
            StopFlag().wait(RETRY_S)
        if answer.status // 100 != 2:
            reason = str(parse_problem(answer.body).get("detail") or "")[:200] or "no reason given"
            if answer.status in REFUSED:
                raise ImageError(reason)
            raise DeliveryError(f"{self.name} answered {answer.status}: {reason}", hint="check that the function runs")
        try:
            predictions = json.loads(answer.body)["predictions"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(
                f"the answer of {self.name} has no predictions",
                hint="name the URL of a function of the task classify, such as http://127.0.0.1:8480/functions/NAME",
            ) from error
        return read_best(predictions, answer.latency_ms)
