"""Predictions and probes that succeed need nothing of Flask; every other request gets Flask's response."""

from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from functions.function_app import FunctionApp
from functions.routes import build_flask
from functions.service import Service
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier

RED = encode_png(COLOURS["red"])
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "dev.eaves.image.captured.v1"}


class Function:
    """A function, and how often its Flask application was built."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.built = 0
        self.model = FakeModel(build_classifier(write_colours(folder)))
        settings = FunctionSettings(host="127.0.0.1", max_body_bytes=1000)
        self.service = Service(self.model, settings, concurrency=1, environ=environ)
        self.client = Client(FunctionApp(self.service, self.build))

    def build(self) -> Any:
        self.built += 1
        return build_flask(self.service)

    def requests(self) -> list[str]:
        """Return the counted requests, as the metrics have them."""
        return [line for line in self.service.metrics.render({}, {}).splitlines() if line.startswith("eaves_requests_")]


@pytest.fixture
def function(tmp_path: Path) -> Function:
    return Function(tmp_path / "artifact")


def test_a_function_that_works_needs_no_flask(function: Function):
    image = function.client.post("/", data=RED, content_type="image/png")
    assert (image.status_code, image.json["predictions"][0]["label"]) == (200, "red")  # type: ignore[index]
    event = function.client.post("/", data=RED, content_type="image/png", headers=EVENT)
    assert (event.status_code, event.headers["ce-causeid"]) == (200, "1")
    for path in ("/health/readiness", "/health/liveness"):
        assert function.client.get(path).status_code == 200
    assert function.built == 0
    assert function.requests() == [
        'eaves_requests_total{kind="predict",status="200",problem=""} 2',
        'eaves_requests_total{kind="other",status="200",problem=""} 2',
    ]


@pytest.mark.parametrize(
    ("headers", "body", "status", "kind"),
    [
        ({}, b"no image", 422, "image"),
        ({}, bytes(1001), 413, "http-413"),
        ({"Content-Encoding": "gzip"}, RED, 415, "content-encoding"),
        ({"Origin": "http://elsewhere.example"}, RED, 403, "forbidden"),
        ({"Host": "elsewhere.example"}, RED, 403, "forbidden"),
    ],
)
def test_a_request_that_fails_is_answered_and_counted_by_flask(
    function: Function, headers: dict[str, str], body: bytes, status: int, kind: str
):
    for _ in range(2):
        refused = function.client.post("/", data=body, content_type="image/png", headers=headers)
        assert (refused.status_code, refused.content_type) == (status, "application/problem+json")
    assert function.built == 1
    assert function.requests() == [
        f'eaves_requests_total{{kind="predict",status="{status}",problem="{kind}"}} 2',
    ]


def test_a_request_whose_sender_counts_gets_the_revision_and_is_left_to_the_sender(tmp_path: Path):
    function = Function(tmp_path / "artifact", K_REVISION="flowers-00002")
    for body, status in ((RED, 200), (b"no image", 422)):
        for headers, revision in (({"Eaves-Counted": "1"}, "flowers-00002"), ({}, None)):
            answer = function.client.post("/", data=body, content_type="image/png", headers=headers)
            assert (answer.status_code, answer.headers.get("Eaves-Revision")) == (status, revision)
    assert "Eaves-Revision" not in function.client.get("/metrics", headers={"Eaves-Counted": "1"}).headers
    assert sorted(function.requests()) == [
        'eaves_requests_total{kind="other",status="200",problem=""} 1',
        'eaves_requests_total{kind="predict",status="200",problem="",counted="sender"} 1',
        'eaves_requests_total{kind="predict",status="200",problem=""} 1',
        'eaves_requests_total{kind="predict",status="422",problem="image",counted="sender"} 1',
        'eaves_requests_total{kind="predict",status="422",problem="image"} 1',
    ]


def test_a_function_without_revisions_counts_all_requests(function: Function):
    answer = function.client.post("/", data=RED, content_type="image/png", headers={"Eaves-Counted": "1"})
    assert "Eaves-Revision" not in answer.headers
    assert function.requests() == ['eaves_requests_total{kind="predict",status="200",problem=""} 1']
