"""The HTTP contract: every row of the status table of functions/problems.py, in every way a request can come."""

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from eaves.artifact import Artifact
from eaves.errors import ImageTooLargeError
from eaves.events import IMAGE_CAPTURED, REPLY_TYPES, Event, decode, encode_binary, encode_structured
from eaves.inference.session import Session
from eaves.problem_document import MAX_BYTES
from functions.model_loading import LoadingModel
from functions.pipeline import Turn
from functions.settings import FunctionSettings
from functions.start import StartTiming
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import BrokenClassifier, FakeModel, build_classifier, create_app
from tests.waiting import wait_until

SETTINGS = FunctionSettings(name="colours", site="barn", max_body_bytes=50_000, queue=0)
RED = encode_png(COLOURS["red"])
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BINARY = {
    "Content-Type": "image/png",
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/eaves/barn/camera",
    "ce-type": "dev.eaves.image.captured.v1",
    "ce-subject": "T%C3%BCr%20100%25.jpg",
    "ce-time": "2026-11-24T12:00:00Z",
    "ce-partitionkey": "camera-1",
    "ce-sequence": "7",
    "ce-traceparent": TRACE,
}
EVENT = decode(BINARY, RED)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.fixture
def client(artifact: Artifact) -> FlaskClient:
    return serve(FakeModel(build_classifier(artifact)))


def serve(model: FakeModel, *, concurrency: int = 1) -> FlaskClient:
    return create_app(model, SETTINGS, concurrency=concurrency).test_client()


def post(client: FlaskClient, data: bytes, **headers: str) -> TestResponse:
    return client.post("/", data=data, headers={name.replace("_", "-"): value for name, value in headers.items()})


def problem(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    assert len(response.data) <= MAX_BYTES
    values: dict[str, Any] = json.loads(response.data)
    assert values["status"] == response.status_code
    return values


@pytest.mark.parametrize("kind", sorted(REPLY_TYPES))
def test_our_own_replies_are_taken_and_answered_with_nothing(client: FlaskClient, kind: str):
    headers = {**BINARY, "ce-type": kind, "Content-Type": "application/json"}
    response = client.post("/", data=b"{}", headers=headers)
    assert (response.status_code, response.data) == (202, b"")
    assert not [name for name, _ in response.headers.items() if name.lower().startswith("ce-")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/predict", 404), ("GET", "/favicon.ico", 404), ("PUT", "/", 405), ("POST", "/health/readiness", 405)],
)
def test_other_paths_and_methods_are_problem_documents(client: FlaskClient, method: str, path: str, status: int):
    response = client.open(path, method=method)
    assert response.status_code == status
    assert problem(response)["type"] == f"urn:eaves:problem:http-{status}"
    assert ("Allow" in response.headers) == (status == 405)


def test_an_unexpected_exception_is_500_with_an_id_and_a_logged_traceback(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
):
    client = serve(FakeModel(BrokenClassifier(artifact, cast(Session, ColourSession()), SETTINGS)))
    response = client.post("/", data=RED, headers=BINARY)
    assert response.status_code == 500
    detail = problem(response)["detail"]
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.error_id in detail  # type: ignore[attr-defined]
    assert "ZeroDivisionError: secret" in caplog.text


def test_more_than_the_queue_takes_is_429_with_retry_after(artifact: Artifact):
    """The classifier asks the function itself, which has room for one request."""

    class Nested(BrokenClassifier):
        def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Any:
            answers.append(post(client, RED, Content_Type="image/png"))
            return build_classifier(artifact).predict(data)

    answers: list[TestResponse] = []
    client = serve(FakeModel(Nested(artifact, cast(Session, ColourSession()), SETTINGS)))
    assert post(client, RED, Content_Type="image/png").status_code == 200
    (refused,) = answers
    assert refused.status_code == 429
    assert problem(refused)["type"] == "urn:eaves:problem:overloaded"
    assert int(refused.headers["Retry-After"]) >= 1


def test_while_loading_it_is_alive_but_not_ready():
    client = serve(FakeModel())
    assert client.get("/health/liveness").status_code == 200
    for response in (client.get("/health/readiness"), post(client, RED, Content_Type="image/png")):
        assert response.status_code == 503
        assert problem(response)["type"] == "urn:eaves:problem:loading"


def test_a_readiness_probe_waits_for_a_model_that_is_almost_ready(artifact: Artifact):
    class AlmostReady(FakeModel):
        def wait(self, timeout_s: float) -> None:
            assert 0 < timeout_s < 0.1  # Knative's prober waits 100 ms
            self.finish()

    model = AlmostReady(build_classifier(artifact), checking=True)
    assert serve(model).get("/health/readiness").get_json() == {"status": "ready"}


def test_one_line_is_logged_for_each_prediction_and_no_payload(client: FlaskClient, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "functions"):
        client.post("/", data=RED, headers={**BINARY, "ce-id": "x" * 4000}).close()
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["event_id"], fields["event_type"], fields["function"]) == ("x" * 256, EVENT.type, "colours")
    assert fields["duration_ms"] >= 0


# Paths, names and attributes that nobody would choose.


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["//", "///v2", "/v2//models", "//evil.example/..", "/%ff", "/v2/", "/v2/models/a%2Fb"]
)
def test_no_path_leads_elsewhere(client: FlaskClient, method: str, path: str):
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
):
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


def test_a_golden_that_this_replica_can_not_read_is_no_fault_of_its_senders(artifact: Artifact):
    """A 4xx would have brokers throw every image away."""

    class Refusing(LoadingModel):
        def _open(self) -> Artifact:
            raise ImageTooLargeError("golden/000.png has more pixels than max_pixels")

    model = Refusing(FunctionSettings(artifact=artifact.path), StartTiming())
    model.start()
    wait_until(lambda: model.failure)
    client = create_app(model, SETTINGS, concurrency=1).test_client()
    for response in (client.get("/health/readiness"), post(client, RED, Content_Type="image/png")):
        assert response.status_code == 503
        assert problem(response)["type"] == "urn:eaves:problem:artifact"
        assert "max_pixels" in problem(response)["detail"]
