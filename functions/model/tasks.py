"""Selection of the predictor by the task in an artifact's manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.artifact.manifest import EMBED, TENSOR
from eaves.inference.handler import Handler

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.inference.session import Session
    from functions.model.predictor import Predictor
    from functions.settings import ServeSettings


def open_predictor(artifact: Artifact, session: Session, settings: ServeSettings, handler: Handler) -> Predictor:
    """Open the predictor of an artifact's task; only its module is imported, because each import delays every start."""
    if artifact.manifest.task == TENSOR:
        from functions.model.tensor_predictor import TensorPredictor

        return TensorPredictor(artifact, session, handler)
    if artifact.manifest.task == EMBED:
        from functions.model.embedder import Embedder

        return Embedder(artifact, session, settings, handler=handler)
    from functions.model.classifier import Classifier

    return Classifier(artifact, session, settings, handler=handler)
