"""A model in any state, without a thread that loads it."""

from collections.abc import Mapping
from contextlib import _GeneratorContextManager, nullcontext
from types import MappingProxyType
from typing import cast

import numpy as np
from flask import Flask

from eaves.artifact import Artifact
from eaves.errors import EavesError
from eaves.inference.session import Session
from functions.function_app import FunctionApp
from functions.model_loading import LoadingModel
from functions.pipeline import Classifier, Pipeline, Prediction, Turn
from functions.routes import build_flask
from functions.service import Service
from functions.settings import FunctionSettings, ServeSettings
from functions.start import StartTiming
from tests.fakes.models.artifact import ColourSession


class FakeModel(LoadingModel):
    """Loading when it has neither predictor nor failure.

    Args:
        predictor: What answers.
        failure: Why it never will.
        checking: Whether the golden check is still under way.
    """

    def __init__(
        self, predictor: Pipeline | None = None, failure: EavesError | None = None, *, checking: bool = False
    ) -> None:
        super().__init__(FunctionSettings(), StartTiming())
        self._predictor = predictor
        if (predictor or failure) and not checking:
            self.finish(failure)

    def finish(self, failure: EavesError | None = None) -> None:
        """End the golden check."""
        self.failure = failure
        self._done.set()

    def use(self, *, wait_s: float = 0.0) -> _GeneratorContextManager[Pipeline]:
        """Use the predictor as the real model does, without waiting."""
        return super().use(wait_s=0.0)


def build_classifier(artifact: Artifact, settings: ServeSettings | None = None) -> Classifier:
    """A real classifier over the session that knows colours."""
    return Classifier(artifact, cast(Session, ColourSession()), settings or ServeSettings())


class BrokenClassifier(Classifier):
    """Raises what no one expects, with the payload in its message."""

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Always fails."""
        raise ZeroDivisionError(f"secret {np.frombuffer(data[:4], np.uint8).tolist()}")


def create_app(
    model: LoadingModel,
    settings: FunctionSettings,
    *,
    concurrency: int,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Flask:
    """Create a function as one Flask application, which answers every request as the process does."""
    service = Service(model, settings, concurrency=concurrency, environ=environ)
    app = build_flask(service)
    others = app.wsgi_app
    app.wsgi_app = FunctionApp(service, lambda: others)  # type: ignore[method-assign]
    return app
