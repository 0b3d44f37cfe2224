"""A function process whose model knows colours, and answers only while a file exists: `python -m
tests.fakes.models.function`.

The sockets, the HTTP contract and the settings are the real ones; nothing is trained, so it starts at once.
"""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from eaves import logs
from eaves.artifact import Artifact, open_artifact
from eaves.inference.session import Session
from eaves.options import build_settings
from functions.function_app import FunctionApp
from functions.pipeline import Classifier, Prediction, Turn
from functions.routes import build_flask
from functions.server import Server
from functions.service import Service
from functions.settings import FunctionSettings, ServeSettings
from functions.start import ShutdownRequest, open_listening_socket
from tests.fakes.models.artifact import ColourSession
from tests.fakes.models.model import FakeModel
from tests.waiting import wait_until


class GatedClassifier(Classifier):
    """Answers while the gate is open: while its file is there."""

    def __init__(self, artifact: Artifact, gate: Path) -> None:
        super().__init__(artifact, cast(Session, ColourSession()), ServeSettings())
        self._gate = gate

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Predict as the colours' own model does, but later."""
        wait_until(self._gate.exists, 60)
        return super().predict(data, turn=turn)


def main() -> None:
    """Serve."""
    settings = build_settings(FunctionSettings, {})
    logs.configure(as_json=True)
    artifact = open_artifact(settings.artifact)
    model = FakeModel(GatedClassifier(artifact, Path(os.environ["GATE"])))
    stopping = ShutdownRequest()
    stopping.handle_signals()
    service = Service(model, settings, concurrency=settings.concurrency, environ=os.environ)
    Server(
        FunctionApp(service, lambda: build_flask(service)),
        settings,
        listening=open_listening_socket(settings.host, settings.port),
        concurrency=settings.concurrency,
        stopping=stopping,
        on_stop=model.drain,
    ).run()


if __name__ == "__main__":
    main()
