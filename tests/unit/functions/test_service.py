"""What a function does beyond one prediction: repeats, references, digests, metrics, tensors; over its whole app."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from eaves.artifact import Artifact
from eaves.events import IMAGE_CAPTURED, Event, encode_binary, encode_structured
from eaves.inference.session import Session
from functions.pipeline import Classifier, Prediction, Turn
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import FakeModel, create_app

SETTINGS = FunctionSettings(name="colours", site="barn")
RED = encode_png(COLOURS["red"])
SHA256 = f"sha256:{hashlib.sha256(RED).hexdigest()}"
EVENT = Event(id="1", source="/eaves/barn/camera", type=IMAGE_CAPTURED, datacontenttype="image/png", data=RED)


class Counting(Classifier):
    """A classifier that counts its calls, and waits while it is held."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact, cast(Session, ColourSession()), SETTINGS)
        self.calls = 0
        self.go = threading.Event()
        self.go.set()

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Predict as the real classifier does."""
        self.calls += 1
        assert self.go.wait(10)
        return super().predict(data, turn=turn)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.fixture
def classifier(artifact: Artifact) -> Counting:
    return Counting(artifact)


@pytest.fixture
def client(classifier: Counting) -> FlaskClient:
    return serve(classifier)


def serve(classifier: Classifier, settings: FunctionSettings = SETTINGS, concurrency: int = 2) -> FlaskClient:
    return create_app(FakeModel(classifier), settings, concurrency=concurrency).test_client()


def send(client: FlaskClient, event: Event = EVENT) -> TestResponse:
    headers, body = encode_binary(event)
    return client.post("/", data=body, headers=headers)


def problem(response: TestResponse) -> str:
    protocol = response.request.path.startswith("/v2")
    assert response.content_type == ("application/json" if protocol else "application/problem+json")
    return str(json.loads(response.data)["type"]).removeprefix("urn:eaves:problem:")


def samples(client: FlaskClient) -> dict[tuple[str, str], float]:
    """Return the samples by name and the labels' values."""
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_replies_to_an_event_that_comes_again_have_one_id(client: FlaskClient) -> None:
    headers, body = encode_structured(EVENT)
    answers = [send(client), send(client), client.post("/", data=body, headers=headers)]
    assert len({answer.headers["ce-id"] for answer in answers}) == 1


def test_only_accepted_types_are_predicted(classifier: Counting) -> None:
    client = serve(classifier, replace(SETTINGS, accept_types=("a.b", IMAGE_CAPTURED)))
    assert send(client).status_code == 200
    refused = send(client, replace(EVENT, type="a.c"))
    assert (refused.status_code, problem(refused)) == (415, "unsupported-content")
    assert IMAGE_CAPTURED in refused.text


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        (SHA256, 200, ""),
        (SHA256.upper(), 200, ""),
        ("md5:whatever", 200, ""),
        ("sha256:abc", 400, "input"),
        ("sha256:" + "0" * 64, 503, "damaged"),
    ],
)
def test_data_must_have_the_digest_that_its_event_says(client: FlaskClient, said: str, status: int, kind: str) -> None:
    response = send(client, EVENT.with_extensions(datadigest=said))
    assert response.status_code == status
    if kind:
        assert problem(response) == kind
    assert "Retry-After" not in response.headers, "with it, no sender would ever count the refusal"


def test_json_that_was_written_anew_on_its_way_needs_no_digest(client: FlaskClient) -> None:
    """A broker passes on in structured mode what came in binary mode, with other blanks."""
    event = replace(EVENT, datacontenttype="application/json", data=b"[1,2]").with_extensions(datadigest=SHA256)
    assert (send(client, event).status_code, problem(send(client, event))) == (415, "unsupported-content")


def test_a_reference_is_not_followed_unless_hosts_are_allowed(client: FlaskClient, classifier: Counting) -> None:
    event = replace(EVENT, data=b"").with_extensions(dataref="https://store.example/a.png")
    response = send(client, event)
    assert (response.status_code, problem(response)) == (422, "claim")
    assert "dataref_hosts" in response.text
    other = serve(classifier, replace(SETTINGS, dataref_hosts=("other.example",)))
    assert "store.example" in send(other, event).text


def test_metrics_tell_outcomes_stages_and_the_model(client: FlaskClient, artifact: Artifact) -> None:
    send(client)
    send(client, replace(EVENT, data=b"hello"))
    client.get("/nowhere")
    found = samples(client)
    assert found["eaves_requests_total", "predict 200 "] == 1
    assert found["eaves_requests_total", "predict 422 image"] == 1
    assert found["eaves_requests_total", "other 404 http-404"] == 1
    assert found["eaves_predictions_total", "red"] == 1
    for stage in ("queue", "decode", "preprocess", "infer"):
        assert found["eaves_stage_duration_seconds_count", stage] >= 1
    version = artifact.manifest.version
    assert found["eaves_model_info", f"colours {version} sha256:{artifact.digest} classify fp32"] == 1
    assert (found["eaves_ready", ""], found["eaves_in_work", ""]) == (1, 0)


def infer(client: FlaskClient, name: str = "colours", **tensor: Any) -> TestResponse:
    return client.post(f"/v2/models/{name}/infer", json={"inputs": [{"name": "image", **tensor}]})


def test_encoded_images_and_pixels_are_answered_alike(client: FlaskClient) -> None:
    text = base64.b64encode(RED).decode()
    encoded = infer(client, datatype="BYTES", shape=[2], data=[text, text]).get_json()
    pixels = infer(client, datatype="UINT8", shape=[2, 1, 1, 3], data=list(COLOURS["red"]) * 2).get_json()
    assert encoded["outputs"] == pixels["outputs"]
    label, probabilities, logits = encoded["outputs"]
    assert label["data"] == ["red", "red"]
    assert [probabilities["shape"], logits["shape"]] == [[2, 3], [2, 3]]


def test_the_protocols_other_endpoints(client: FlaskClient, artifact: Artifact) -> None:
    version = artifact.manifest.version
    assert client.get("/v2").get_json()["extensions"] == ["binary_tensor_data"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/colours/ready"):
        assert client.get(path).status_code == 200
    for path in ("/v2/models/colours", f"/v2/models/colours/versions/{version}"):
        about = client.get(path).get_json()
        assert (about["name"], about["versions"]) == ("colours", [version])
        assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
        assert about["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/colours/versions/2", "/v2/models/other/ready"])
def test_another_model_is_not_here(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, problem(response)) == (404, "not-found")
    assert response.get_json(force=True)["error"]


def test_bad_requests_have_the_protocols_error(client: FlaskClient) -> None:
    refused = infer(client, datatype="UINT8", shape=[1, 1, 1, 4], data=[1, 2, 3, 4])
    assert (refused.status_code, problem(refused)) == (400, "input")
    assert "[n, n, n, 3]" in refused.get_json(force=True)["error"]
    broken = infer(client, datatype="BYTES", shape=[1], data=["aGVsbG8="])
    assert (broken.status_code, problem(broken)) == (422, "image")
    header = client.post("/v2/models/colours/infer", data=b"{}", headers={"Inference-Header-Content-Length": "x"})
    assert header.status_code == 400


def test_while_loading_the_protocol_says_so() -> None:
    client = create_app(FakeModel(), SETTINGS, concurrency=1).test_client()
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/colours/ready", "/v2/models/colours"):
        assert client.get(path).status_code == 503
    assert infer(client, datatype="BYTES", shape=[1], data=[""]).status_code == 503
