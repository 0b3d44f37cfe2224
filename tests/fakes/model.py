"""A model in any state, without a thread that loads it."""

from __future__ import annotations

from typing import cast

import numpy as np

from eaves.artifact import Artifact
from eaves.errors import EavesError
from eaves.images import MAX_PIXELS
from functions.classifier import Classifier, Prediction
from functions.model import Model
from functions.session import Session
from functions.settings import FunctionSettings
from tests.fakes.artifact import ColourSession


class FakeModel(Model):
    """Loading when it has neither classifier nor failure.

    Args:
        classifier: What answers.
        failure: Why it never will.
    """

    def __init__(self, classifier: Classifier | None = None, failure: EavesError | None = None) -> None:
        super().__init__(FunctionSettings())
        self._classifier = classifier
        self.failure = failure

    def classifier(self, *, wait_s: float = 0.0) -> Classifier:
        """As the real one, that never waits."""
        return super().classifier(wait_s=0.0)


def build_classifier(artifact: Artifact, *, top_k: int = 5, max_pixels: int = MAX_PIXELS) -> Classifier:
    """A real classifier over the session that knows colours."""
    return Classifier(artifact, cast(Session, ColourSession()), top_k=top_k, max_pixels=max_pixels)


class BrokenClassifier(Classifier):
    """Raises what no one expects, with the payload in its message."""

    def predict(self, data: bytes) -> Prediction:
        """Always fails."""
        raise ZeroDivisionError(f"secret {np.frombuffer(data[:4], np.uint8).tolist()}")
