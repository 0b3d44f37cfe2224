"""What a function does beyond one prediction, over its whole app; the steps that all tasks share, and the scores."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jsonschema
import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from eaves.artifact import Artifact, DecisionRule, LabelScores
from eaves.event_schemas import SCHEMAS
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, encode_binary
from eaves.inference.handler import Handler
from eaves.inference.session import Session
from eaves.spool.score_shift import read_sample
from functions.pipeline import Classifier, Prediction, Turn, find_margin
from functions.service import build_reply
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier, create_app

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


def test_only_accepted_types_are_predicted(classifier: Counting):
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
def test_data_must_have_the_digest_that_its_event_says(client: FlaskClient, said: str, status: int, kind: str):
    response = send(client, EVENT.with_extensions(datadigest=said))
    assert response.status_code == status
    if kind:
        assert problem(response) == kind
    assert "Retry-After" not in response.headers, "with it, no sender would ever count the refusal"


def test_json_that_was_written_anew_on_its_way_needs_no_digest(client: FlaskClient):
    """A broker passes on in structured mode what came in binary mode, with other blanks."""
    event = replace(EVENT, datacontenttype="application/json", data=b"[1,2]").with_extensions(datadigest=SHA256)
    assert (send(client, event).status_code, problem(send(client, event))) == (415, "unsupported-content")


def test_a_reference_is_not_followed_unless_hosts_are_allowed(client: FlaskClient, classifier: Counting):
    event = replace(EVENT, data=b"").with_extensions(dataref="https://store.example/a.png")
    response = send(client, event)
    assert (response.status_code, problem(response)) == (422, "claim")
    assert "dataref_hosts" in response.text
    other = serve(classifier, replace(SETTINGS, dataref_hosts=("other.example",)))
    assert "store.example" in send(other, event).text


def test_metrics_tell_outcomes_stages_and_the_model(client: FlaskClient, artifact: Artifact):
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


def test_encoded_images_and_pixels_are_answered_alike(client: FlaskClient):
    text = base64.b64encode(RED).decode()
    encoded = infer(client, datatype="BYTES", shape=[2], data=[text, text]).get_json()
    pixels = infer(client, datatype="UINT8", shape=[2, 1, 1, 3], data=list(COLOURS["red"]) * 2).get_json()
    assert encoded["outputs"] == pixels["outputs"]
    label, probabilities, logits = encoded["outputs"]
    assert label["data"] == ["red", "red"]
    assert [probabilities["shape"], logits["shape"]] == [[2, 3], [2, 3]]


def test_the_protocols_other_endpoints(client: FlaskClient, artifact: Artifact):
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
def test_another_model_is_not_here(client: FlaskClient, path: str):
    response = client.get(path)
    assert (response.status_code, problem(response)) == (404, "not-found")
    assert response.get_json(force=True)["error"]


def test_bad_requests_have_the_protocols_error(client: FlaskClient):
    refused = infer(client, datatype="UINT8", shape=[1, 1, 1, 4], data=[1, 2, 3, 4])
    assert (refused.status_code, problem(refused)) == (400, "input")
    assert "[n, n, n, 3]" in refused.get_json(force=True)["error"]
    broken = infer(client, datatype="BYTES", shape=[1], data=["aGVsbG8="])
    assert (broken.status_code, problem(broken)) == (422, "image")
    header = client.post("/v2/models/colours/infer", data=b"{}", headers={"Inference-Header-Content-Length": "x"})
    assert header.status_code == 400


def test_a_reply_says_where_its_score_lies_among_those_of_held_out_images(artifact: Artifact):
    scores = (LabelScores(), LabelScores(), LabelScores(edges=(-2.0, 0.0, 50.0), groups=2))
    known = replace(artifact, manifest=replace(artifact.manifest, label_scores=scores))
    classifier = build_classifier(known, ServeSettings(threshold=1.0))  # so no label is named
    replies = [build_reply(EVENT, classifier.predict(RED), classifier, SETTINGS) for _ in range(2)]
    first, again = (reply.json()["calibration"] for reply in replies)
    assert first == again == {"label": "red", "groups": 2, "rank": pytest.approx(0.625, abs=0.125)}
    jsonschema.validate(replies[0].json(), SCHEMAS[IMAGE_CLASSIFIED])
    sample = read_sample(replies[0], {})
    assert sample is not None
    assert (sample.label, sample.place, sum(sample.reference)) == ("red", int(first["rank"] * 8), 2)
    blue = classifier.predict(encode_png(COLOURS["blue"])).payload
    assert "calibration" not in blue  # no held-out image got this label
    assert "calibration" not in build_classifier(artifact).predict(RED).payload


@pytest.mark.parametrize(("above", "confidence"), [(-0.001, "high"), (0.0, "high"), (0.001, "low")])
def test_confidence_is_high_from_the_threshold_on(artifact: Artifact, above: float, confidence: str):
    data = encode_png(COLOURS["red"])
    score = build_classifier(artifact).predict(data).payload["predictions"][0]["score"]
    settings = ServeSettings(high_confidence=score + above)
    assert build_classifier(artifact, settings).predict(data).attributes == {"label": "red", "confidence": confidence}


BLUISH_RED = (70, 10, 100)
"""A colour of which the model gives blue 0.76, red 0.23 and green 0.02."""
RARE_RED = DecisionRule(label_weights=(0.1, 0.1, 1.0))


def test_the_decision_rule_orders_the_labels_and_its_first_is_the_label(artifact: Artifact):
    weighted = replace(artifact, manifest=replace(artifact.manifest, decision=RARE_RED))
    data = encode_png(BLUISH_RED)
    plain, by_rule = build_classifier(artifact).predict(data), build_classifier(weighted).predict(data)
    scores = {item["label"]: item["score"] for item in plain.payload["predictions"]}
    assert list(scores) == ["blue", "red", "green"]
    assert 0.2 < scores["red"] < 0.3
    assert by_rule.payload["predictions"] == [
        {"label": name, "score": scores[name]} for name in ("red", "blue", "green")
    ]
    assert by_rule.attributes == {"label": "red", "confidence": "low"}
    assert plain.attributes == {"label": "blue", "confidence": "high"}
    assert build_classifier(weighted).run(data)["label"] == "red"
    assert build_classifier(artifact).run(data)["label"] == "blue"
    first = build_classifier(weighted, ServeSettings(top_k=1)).predict(data)
    assert first.payload["predictions"] == by_rule.payload["predictions"][:1]


def test_the_margin_is_that_of_the_decision_rules_numbers(artifact: Artifact):
    weighted = replace(artifact, manifest=replace(artifact.manifest, decision=RARE_RED))
    for one in (artifact, weighted):
        found = build_classifier(one).predict(encode_png(BLUISH_RED))
        numbers = sorted(one.manifest.decision.weigh(found.outputs["probabilities"]).tolist())
        assert found.payload["margin"] == pytest.approx((numbers[-1] - numbers[-2]) / sum(numbers), abs=1e-5)
    assert [find_margin(np.array(one)) for one in ([0.4], [0.0, 0.0], [0.5, 0.5], [0.1, 0.3])] == [1, 0, 0, 0.5]


def test_no_other_label_is_named_if_the_score_of_the_label_is_below_the_threshold(artifact: Artifact):
    weighted = replace(artifact, manifest=replace(artifact.manifest, decision=RARE_RED))
    found = build_classifier(weighted, ServeSettings(threshold=0.5)).predict(encode_png(BLUISH_RED))
    assert (found.payload["predictions"], found.attributes) == ([], {"confidence": "low"})
    kept = build_classifier(weighted, ServeSettings(threshold=0.1)).predict(encode_png(BLUISH_RED))
    assert [item["label"] for item in kept.payload["predictions"]] == ["red", "blue"]


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


def build(artifact: Artifact, steps: Steps, handler: Handler | None = None) -> Classifier:
    return Classifier(artifact, cast(Session, steps), ServeSettings(), handler=handler)


def test_a_turn_is_held_for_the_run_only_and_for_one_run(artifact: Artifact):
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
def test_the_code_of_a_handler_runs_within_the_turn(artifact: Artifact, has: dict[str, bool], expected: list[str]):
    steps = Steps()
    build(artifact, steps, steps.handler(**has)).predict(RED, turn=steps.turn)
    assert steps.seen == expected
