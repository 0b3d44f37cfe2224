"""Evaluates an artifact through the predictor that serves it."""

from __future__ import annotations

import time
from pathlib import Path

from converters.evaluation.model import NO_LABEL, ImagePrediction
from eaves.artifact import open_artifact
from eaves.artifact.manifest import CLASSIFY
from eaves.errors import ArtifactError
from eaves.inference.handler import load_handler
from eaves.inference.session import open_session
from functions.model.tasks import open_predictor
from functions.settings import ServeSettings
from trainer.evaluation import MEAN_RECALL


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
        artifact = open_artifact(path)
        found = artifact.manifest
        if found.task != CLASSIFY:
            raise ArtifactError(
                f"{path} can't be evaluated: its task is {found.task}, which does not predict classes",
                hint="name an artifact of the task classify",
            )
        self.name = f"{path.name} ({found.name} {found.version})"
        self.labels: tuple[str, ...] | None = found.labels
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
        best = predictions[0]  # type: ignore[index] # a handler or a function may answer anything
        return ImagePrediction(label=str(best["label"]), score=float(best["score"]), time_ms=time_ms)
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"the handler's answer has no list of predictions: {str(predictions)[:100]}",
            hint="evaluate a model of the task classify",
        ) from error
