"""The steps that all tasks share: what happens within a turn to run the model, and what beside another's run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from eaves.artifact import Artifact
from eaves.inference.handler import Handler
from eaves.inference.session import Session
from functions.pipeline import Classifier
from functions.settings import ServeSettings
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours

RED = encode_png(COLOURS["red"])


class Steps(ColourSession):
    """A session that lists its runs beside the turns that were taken and given back."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def answer(self, batch: Any) -> Any:
        self.seen.append("run")
        return super().answer(batch)

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.seen.append("turn")
        yield
        self.seen.append("back")

    def handler(self, *, preprocess: bool = False, postprocess: bool = False) -> Handler:
        def prepare(data: bytes) -> Any:
            self.seen.append("preprocess")
            return np.zeros((8, 8, 3), np.uint8)

        def finish(outputs: Any) -> Any:
            self.seen.append("postprocess")
            return {"label": "red"}

        return Handler(preprocess=prepare if preprocess else None, postprocess=finish if postprocess else None)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def build(artifact: Artifact, steps: Steps, handler: Handler | None = None) -> Classifier:
    return Classifier(artifact, cast(Session, steps), ServeSettings(), handler=handler)


def test_a_turn_is_held_for_the_run_only_and_for_one_run(artifact: Artifact) -> None:
    steps = Steps()
    classifier = build(artifact, steps)
    classifier.predict(RED, turn=steps.turn)
    classifier.run(RED, turn=steps.turn)
    assert steps.seen == ["turn", "run", "back"] * 2


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"preprocess": True}, ["turn", "preprocess", "run", "back"]),
        ({"postprocess": True}, ["turn", "run", "postprocess", "back"]),
    ],
)
def test_the_code_of_a_handler_runs_within_the_turn(
    artifact: Artifact, has: dict[str, bool], expected: list[str]
) -> None:
    steps = Steps()
    build(artifact, steps, steps.handler(**has)).predict(RED, turn=steps.turn)
    assert steps.seen == expected
