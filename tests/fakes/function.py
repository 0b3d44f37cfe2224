"""A function process whose model knows colours, and answers only while a file exists: `python -m tests.fakes.function`.

The sockets, the HTTP contract and the settings are the real ones; nothing is trained, so it starts at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from eaves import logs
from eaves.artifact import Artifact, open_artifact
from eaves.options import build_settings
from functions.app import create_app
from functions.classifier import Classifier
from functions.predictor import Prediction
from functions.server import Server
from functions.session import Session
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.artifact import ColourSession
from tests.fakes.model import FakeModel
from tests.waiting import wait_until


class GatedClassifier(Classifier):
    """Answers while the gate is open: while its file is there."""

    def __init__(self, artifact: Artifact, gate: Path) -> None:
        super().__init__(artifact, cast(Session, ColourSession()), ServeSettings())
        self._gate = gate

    def predict(self, data: bytes) -> Prediction:
        """As the colours' own, later."""
        wait_until(self._gate.exists, 60)
        return super().predict(data)


def main() -> None:
    """Serve."""
    settings = build_settings(FunctionSettings, {})
    logs.configure(as_json=True)
    artifact = open_artifact(settings.artifact)
    model = FakeModel(GatedClassifier(artifact, Path(os.environ["GATE"])))
    app = create_app(model, settings, concurrency=settings.concurrency)
    Server(app, settings, concurrency=settings.concurrency, on_stop=model.drain).run()


if __name__ == "__main__":
    main()
