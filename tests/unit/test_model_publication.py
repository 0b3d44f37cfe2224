"""The event that a model is published: always the same one, sent until it is taken."""

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
    """Answers each attempt in turn."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = iter(statuses)
        self.got: list[Event] = []

    def post(self, url: str, event: Event, **_: Any) -> SinkResponse:
        self.got.append(event)
        return SinkResponse(status=next(self._statuses), body=b"reported")


def test_it_says_what_is_there_as_its_schema_has_it(artifact: Artifact):
    event = build_publication(artifact, IMAGE, site="barn")
    jsonschema.validate(event.json(), SCHEMAS[MODEL_PUBLISHED])
    assert event.json()["image"] == IMAGE
    assert event.json()["artifact"] == f"sha256:{artifact.digest}"
    assert (event.type, event.source, event.subject) == (MODEL_PUBLISHED, "/eaves/barn/colours", "colours")
    assert event.extensions == {"model": "colours", "modelversion": artifact.manifest.version}
    assert decode(*encode_binary(event)).json() == event.json()


def test_a_repeated_step_sends_the_same_event(artifact: Artifact):
    first = build_publication(artifact, IMAGE, site="barn")
    assert build_publication(artifact, IMAGE, site="barn") == first
    assert build_publication(artifact, IMAGE.replace("3", "4"), site="barn").id != first.id
    assert build_publication(artifact, IMAGE, site="yard").source != first.source


def test_it_is_sent_until_it_is_taken(artifact: Artifact):
    event, sink, pauses = build_publication(artifact, IMAGE, site="barn"), Sink(503, 503, 202), list[float]()
    announce(event, URL, cast(SinkClient, sink), pause=pauses.append)
    assert sink.got == [event] * 3
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_who_refuses_it_is_not_asked_twice(artifact: Artifact):
    sink, reason = Sink(403), r"was not accepted: http://broker\.example/ answered 403: reported"
    with pytest.raises(DeliveryError, match=reason) as caught:
        announce(build_publication(artifact, IMAGE, site="barn"), URL, cast(SinkClient, sink))
    assert len(sink.got) == 1
    assert "run the same command again" in str(caught.value.hint)
