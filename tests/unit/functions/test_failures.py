"""What failed leaves nothing behind: no exception that is raised for ever, no circle that keeps an image in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from eaves.errors import EavesError, GoldenError, ImageError
from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from eaves.inference.session import Session
from functions.http.app import create_app
from functions.model.pipeline import Classifier, Prediction, Turn
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import ColourSession, encode_png, write_colours
from tests.fakes.models.model import FakeModel

SETTINGS = FunctionSettings(name="colours", site="barn")
IMAGE = encode_png((0, 0, 0))
EVENT = Event(id="1", source="/eaves/barn/camera", type=IMAGE_CAPTURED, datacontenttype="image/png", data=IMAGE)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the garbage collector only what nothing refers to goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Failing(Classifier):
    """Fails, and says who remembers it."""

    failures: list[weakref.ref[ImageError]]

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Always fails."""
        error = ImageError("corrupt")
        self.failures.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("as_event", [True, False])
def test_an_image_that_can_not_be_read_is_let_go_with_its_answer(tmp_path: Path, as_event: bool) -> None:
    artifact = write_colours(tmp_path / "artifact")
    classifier = Failing(artifact, cast(Session, ColourSession()), SETTINGS)
    classifier.failures = []
    client = create_app(FakeModel(classifier), SETTINGS, concurrency=1).test_client()
    headers, body = encode_binary(EVENT) if as_event else ({"Content-Type": "image/png"}, IMAGE)
    for _ in range(3):
        assert client.post("/", data=body, headers=headers).status_code == 422
    assert [failure() for failure in classifier.failures[:2]] == [None, None]


def test_a_failed_models_reason_keeps_nothing_of_those_who_were_reported_it() -> None:
    reason = GoldenError("logits differ", hint="convert again")
    model = FakeModel(failure=reason)

    def ask(call: Any) -> EavesError:
        with pytest.raises(GoldenError, match="logits differ") as caught:
            call()
        return caught.value

    def use() -> None:
        with model.use():
            pass

    reported = [ask(call) for call in (model.require_ready, use) for _ in range(5)]
    assert reason.__traceback__ is None
    assert {error.hint for error in reported} == {"convert again"}
    assert len({id(error) for error in reported}) == len(reported)
