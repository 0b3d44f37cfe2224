"""A function process that serves a model of the task `anomaly`."""

import base64
import json
from collections.abc import Iterator

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_INSPECTED, Event, decode, encode_binary
from tests.fakes.models.inspector import encode_spots, write_inspector
from tests.processes.function import Function, serving

SPOT = encode_spots((16, 32, 32, 48, 255))


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("inspection")
    artifact = write_inspector(folder / "artifact")
    with serving(artifact.path, folder, EAVES_SELF_TEST="all", EAVES_ANOMALY_THRESHOLD="120") as started:
        yield started


def test_an_image_event_is_inspected_with_its_map_only_if_the_request_asks(function: Function):
    cause = Event(id="1", source="/x", type=IMAGE_CAPTURED, datacontenttype="image/png", data=SPOT)
    headers, body = encode_binary(cause)
    status, answered, content = function.request("POST", "/", body, **headers)
    assert status == 200, content
    reply = decode(answered, content)
    document = reply.json()
    assert (reply.type, reply.extensions["label"], reply.extensions["confidence"]) == (
        IMAGE_INSPECTED,
        "anomalous",
        "high",
    )
    assert document["boxes"] == [[0.25, 0.5, 0.25, 0.25, document["score"]]]
    assert document["threshold"] == 120.0
    assert "map" not in document
    again = decode(*function.request("POST", "/", body, Prefer="reply, Map", **headers)[1:])
    assert again.id == reply.id
    assert [len(row) for row in again.json()["map"]] == [4] * 4
    plain = function.request("POST", "/", encode_spots(), Content_Type="image/png", Prefer="map")[2]
    assert (json.loads(plain)["label"], len(json.loads(plain)["map"])) == ("normal", 4)
    headers, body = encode_binary(reply)
    assert function.request("POST", "/", body, **headers)[0] == 202


def test_the_open_inference_protocol_gives_the_map(function: Function):
    described = json.loads(function.request("GET", "/v2/models/digits")[2])
    assert {"name": "map", "datatype": "FP32", "shape": [-1, 4, 4]} in described["outputs"]
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(SPOT).decode()]}
    asked = {"inputs": [image], "outputs": [{"name": "map"}, {"name": "label"}]}
    status, _, content = function.request("POST", "/v2/models/digits/infer", json.dumps(asked).encode())
    assert status == 200, content
    grid, label = json.loads(content)["outputs"]
    assert (grid["shape"], label["data"]) == ([1, 4, 4], ["anomalous"])
    assert max(grid["data"]) > 120
