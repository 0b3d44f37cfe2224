"""The HTTP contract at its edges: paths, methods, names and attributes that nobody would choose."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from eaves.artifact import Artifact
from eaves.errors import ImageTooLargeError
from eaves.events import IMAGE_CAPTURED, Event, decode, encode_binary, encode_structured
from eaves.web.problem_document import MAX_BYTES
from functions.http.app import create_app
from functions.model.model_loading import LoadingModel
from functions.settings import FunctionSettings
from functions.start_timing import StartTiming
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier
from tests.waiting import wait_until

SETTINGS = FunctionSettings(name="colours", site="barn")
RED = encode_png(COLOURS["red"])


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_colours(tmp_path_factory.mktemp("edges") / "artifact")


@pytest.fixture(scope="module")
def client(artifact: Artifact) -> FlaskClient:
    return create_app(FakeModel(build_classifier(artifact)), SETTINGS, concurrency=1).test_client()


def problem(response: TestResponse) -> dict[str, str]:
    protocol = response.request.path.startswith("/v2")
    assert response.content_type == ("application/json" if protocol else "application/problem+json")
    assert len(response.data) <= MAX_BYTES
    return dict(json.loads(response.data))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["//", "///v2", "/v2//models", "//evil.example/..", "/%ff", "/v2/", "/v2/models/a%2Fb"]
)
def test_no_path_leads_elsewhere(client: FlaskClient, method: str, path: str) -> None:
    """A sender of events doesn't follow, and a broker takes a redirect for the end."""
    response = client.open(path, method=method)
    assert response.status_code == 200 or response.content_type in ("application/problem+json", "application/json")
    assert "Location" not in response.headers


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=TEXT, source=TEXT, subject=TEXT, key=TEXT)
@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_whatever_an_event_says_comes_back_as_it_was(
    client: FlaskClient, encode: object, name: str, source: str, subject: str, key: str
) -> None:
    event = Event(
        id=name,
        source=source,
        subject=subject,
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        data=RED,
        extensions={"partitionkey": key},
    )
    assert callable(encode)
    headers, body = encode(event)
    response = client.post("/", data=body, headers=headers)
    assert response.status_code == 200
    assert all(value.isascii() and value.isprintable() for _, value in response.headers.items())
    reply = decode(dict(response.headers.items()), response.data)
    reported = (reply.extensions["causeid"], reply.extensions["causesource"], reply.subject)
    assert (*reported, reply.extensions["partitionkey"]) == (name, source, subject, key)


def test_a_golden_that_this_replica_can_not_read_is_no_fault_of_its_senders(artifact: Artifact) -> None:
    """A 4xx would have brokers throw every image away."""

    class Refusing(LoadingModel):
        def _open(self) -> Artifact:
            raise ImageTooLargeError("golden/000.png has more pixels than max_pixels")

    model = Refusing(FunctionSettings(artifact=artifact.path), StartTiming())
    model.start()
    wait_until(lambda: model.failure)
    client = create_app(model, SETTINGS, concurrency=1).test_client()
    for response in (
        client.get("/health/readiness"),
        client.post("/", data=RED, headers={"Content-Type": "image/png"}),
    ):
        assert response.status_code == 503
        assert problem(response)["type"] == "urn:eaves:problem:artifact"
        assert "max_pixels" in problem(response)["detail"]
