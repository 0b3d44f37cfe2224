"""Which predictor serves an artifact: the manifest's task says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.artifact.manifest import EMBED, TENSOR
from functions.handler import Handler

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from functions.predictor import Predictor
    from functions.session import Session
    from functions.settings import ServeSettings


def open_predictor(artifact: Artifact, session: Session, settings: ServeSettings, handler: Handler) -> Predictor:
    """The predictor of an artifact's task; only its own module is imported, since each costs every start."""
    if artifact.manifest.task == TENSOR:
        from functions.tensors import TensorPredictor

        return TensorPredictor(artifact, session, handler)
    if artifact.manifest.task == EMBED:
        from functions.embedder import Embedder

        return Embedder(artifact, session, settings, handler=handler)
    from functions.classifier import Classifier

    return Classifier(artifact, session, settings, handler=handler)
