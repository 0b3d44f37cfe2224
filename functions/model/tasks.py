"""Selection of the predictor for the task that an artifact's manifest names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.artifact.manifest import EMBED, TENSOR

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.inference.handler import Handler
    from eaves.inference.session import Runner
    from functions.model.predictor import Predictor
    from functions.settings import ServeSettings


def open_predictor(artifact: Artifact, session: Runner, settings: ServeSettings, handler: Handler) -> Predictor:
    """Open the predictor for an artifact's task.

    Only the module of that task is imported, since each import delays the start.
    """
    if artifact.manifest.task == TENSOR:
        from functions.model.tensor_predictor import TensorPredictor

        return TensorPredictor(artifact, session, handler)
    if artifact.manifest.task == EMBED:
        from functions.model.embedder import Embedder

        return Embedder(artifact, session, settings, handler=handler)
    from functions.model.classifier import Classifier

    return Classifier(artifact, session, settings, handler=handler)
