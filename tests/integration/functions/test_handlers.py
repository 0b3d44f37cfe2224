"""A function process with a handler.py: what it answers, and what of the handler's faults reaches sender and log."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.artifact import Artifact
from eaves.artifact.store import HANDLER
from eaves.events import Event, decode, encode_binary
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.processes.function import Function, Start, serving
from tests.waiting import wait_until

SOURCE = """
import json

import numpy as np

from eaves.errors import ImageError

content_types = ("application/x-colour",)


def preprocess(data):
    if data == b"fault":
        {}["no such key"]
    if data == b"end":
        raise SystemExit(1)
    if data == b"bad":
        raise ImageError("no colour", hint="send three numbers")
    return np.full((8, 8, 3), json.loads(data), np.uint8)


def postprocess(outputs):
    red = outputs["probabilities"][2]
    if red > 0.4 and red < 0.6:
        return {"red": float("nan")}
    return {"label": "stop" if red > 0.5 else "go", "red": red}
"""
RED = json.dumps(COLOURS["red"]).encode()
SCAN = {"Content_Type": "application/x-colour"}


def write_artifact(target: Path, source: str) -> Artifact:
    """The colour model with a handler; its goldens stay pictures, which only the recipe reads."""
    return write_graph_artifact(target, change=lambda at: (at / HANDLER).write_text(source))


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("handlers")
    with serving(write_artifact(folder / "a", SOURCE).path, folder, EAVES_SELF_TEST="none") as started:
        yield started


def test_it_says_what_it_takes_and_what_is_answered(function: Function):
    cause = Event(id="1", source="/x", type="org.example.scan", datacontenttype="application/x-colour", data=RED)
    headers, body = encode_binary(cause)
    status, answered, content = function.request("POST", "/", body, **headers)
    assert status == 200, content
    reply = decode(answered, content)
    assert (reply.type, reply.extensions["label"]) == ("dev.eaves.image.classified.v1", "stop")
    assert "confidence" not in reply.extensions
    document = reply.json()
    assert set(document) == {"label", "red", "model", "version", "artifact", "timings_ms"}
    assert document["red"] > 0.9
    assert function.request("POST", "/", encode_png(COLOURS["red"]), Content_Type="image/png")[0] == 415


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"fault", '{}["no such key"]'),
        (b"end", "raise SystemExit(1)"),
        (b"[]", "json.loads(data)"),
        (b"[139, 10, 130]", "not JSON compliant"),
    ],
    ids=["KeyError", "SystemExit", "ValueError", "garbage"],
)
def test_a_fault_is_500_with_an_id_under_which_the_log_has_the_handlers_lines(
    function: Function, data: bytes, named: str
):
    status, headers, body = function.request("POST", "/", data, **SCAN)
    problem = json.loads(body)
    assert (status, headers["Content-Type"]) == (500, "application/problem+json"), problem
    assert named not in body.decode()
    *_, error_id = problem["detail"].split()

    def logged() -> str:
        return next((line for line in function.log.splitlines() if f'"error_id": "{error_id}"' in line), "")

    assert named in json.loads(wait_until(logged, what="the traceback"))["traceback"]
    assert function.request("POST", "/", RED, **SCAN)[0] == 200


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module\n", "can't be loaded: ModuleNotFoundError"),
        ("raise SystemExit\n", "can't be loaded: SystemExit"),
        ("def postprocess(outputs):\n    return outputs['scores']\n", "postprocess failed: KeyError: 'scores'"),
        ("def preprocess(data):\n    return data\n", "preprocess returned bytes"),
    ],
)
def test_one_that_can_not_work_is_never_ready_and_says_why(start: Start, tmp_path: Path, source: str, reason: str):
    function = start(artifact=write_artifact(tmp_path / "a", source).path)

    def failure() -> Any:
        status, _, body = function.request("GET", "/health/readiness")
        assert status == 503
        return json.loads(body) if b":loading" not in body else None

    assert reason in wait_until(failure, 30)["detail"]
    assert function.request("GET", "/health/liveness")[0] == 200
    assert function.request("POST", "/", encode_png(COLOURS["red"]), Content_Type="image/png")[0] == 503
    (never,) = [json.loads(line) for line in function.log.splitlines() if "never ready" in line]
    assert "handler.py" in never["traceback"]
