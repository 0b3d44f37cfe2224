"""The event that a model is published: always the same one, sent until it is taken."""

from __future__ import annotations

from typing import Any, cast

import jsonschema
import pytest

from eaves.artifact import Artifact
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import DeliveryError
from eaves.event_schemas import SCHEMAS
from eaves.events import MODEL_PUBLISHED, Event, decode, encode_binary
from eaves.model_publication import announce, build_publication
from tests.fakes.models.artifact import write_colours

IMAGE = "registry.example/colours@sha256:" + "3" * 64
URL = "http://broker.example/"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_colours(tmp_path_factory.mktemp("published") / "artifact")


class Sink:
    """Answers each event alike."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.got: list[Event] = []

    def post(self, url: str, event: Event, **_: Any) -> SinkResponse:
        self.got.append(event)
        return SinkResponse(status=self._status, body=b"reported")


def test_it_says_what_is_there_as_its_schema_has_it(artifact: Artifact) -> None:
    event = build_publication(artifact, IMAGE, site="barn")
    jsonschema.validate(event.json(), SCHEMAS[MODEL_PUBLISHED])
    assert event.json()["image"] == IMAGE
    assert event.json()["artifact"] == f"sha256:{artifact.digest}"
    assert (event.type, event.source, event.subject) == (MODEL_PUBLISHED, "/eaves/barn/colours", "colours")
    assert event.extensions == {"model": "colours", "modelversion": artifact.manifest.version}
    assert decode(*encode_binary(event)).json() == event.json()


def test_a_repeated_step_sends_the_same_event(artifact: Artifact) -> None:
    first = build_publication(artifact, IMAGE, site="barn")
    assert build_publication(artifact, IMAGE, site="barn") == first
    assert build_publication(artifact, IMAGE.replace("3", "4"), site="barn").id != first.id
    assert build_publication(artifact, IMAGE, site="yard").source != first.source


@pytest.mark.parametrize("status", [403, 503])
def test_a_sink_that_does_not_take_it_is_an_error_with_its_reason(artifact: Artifact, status: int) -> None:
    event, sink = build_publication(artifact, IMAGE, site="barn"), Sink(status)
    reason = rf"was not accepted: http://broker\.example/ answered {status}: reported"
    with pytest.raises(DeliveryError, match=reason) as caught:
        announce(event, URL, cast(SinkClient, sink))
    assert sink.got == [event]
    assert "run the same command again" in str(caught.value.hint)
    announce(event, URL, cast(SinkClient, Sink(202)))
