"""Replies: the document, and the event around it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.events import IMAGE_CLASSIFIED, Event, reply_id
from functions.model.pipeline import Prediction
from functions.service import build_prediction_document, build_reply
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import write_colours
from tests.fakes.models.model import build_classifier

SETTINGS = FunctionSettings(name="colours", site="barn")
PREDICTION = Prediction(
    payload={"predictions": [{"label": "red", "score": 0.7}, {"label": "blue", "score": 0.2}]},
    attributes={"label": "red", "confidence": "high"},
    timings_ms={"infer": 1.5},
)
CAUSE = Event(
    id="1",
    source="/eaves/barn/camera",
    type="dev.eaves.image.captured.v1",
    subject="Tür/1.jpg",
    time="2026-11-24T12:00:00Z",
    datacontenttype="image/png",
    data=b"x",
    extensions={
        "partitionkey": "camera-1",
        "sequence": "7",
        "datadigest": "sha256:abc",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "knativearrivaltime": "2026-11-24T12:00:01Z",
        "causeid": "an older one",
    },
)


def build(artifact: Artifact, cause: Event = CAUSE) -> Event:
    return build_reply(cause, PREDICTION, build_classifier(artifact), SETTINGS)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def test_the_reply_is_an_event_of_its_own_that_names_its_cause(artifact: Artifact) -> None:
    reply = build(artifact)
    assert reply.id == reply_id(CAUSE, artifact.digest)
    assert reply.source == "/eaves/barn/colours"
    assert reply.type == IMAGE_CLASSIFIED
    assert (reply.subject, reply.time, reply.datacontenttype) == ("Tür/1.jpg", CAUSE.time, "application/json")
    assert json.loads(reply.data) == build_prediction_document(PREDICTION, artifact)
    assert reply.extensions == {
        **{name: CAUSE.extensions[name] for name in ("partitionkey", "sequence", "datadigest")},
        **{name: CAUSE.extensions[name] for name in ("traceparent", "tracestate")},
        "causeid": "1",
        "causesource": "/eaves/barn/camera",
        "label": "red",
        "confidence": "high",
        "model": "colours",
        "modelversion": "20261124-120000-abcdef01",
    }


def test_without_a_capture_time_the_time_is_now(artifact: Artifact) -> None:
    reply = build(artifact, replace(CAUSE, time=None, subject=None, extensions={}))
    assert reply.subject is None
    assert datetime.fromisoformat(reply.time or "").tzinfo is not None
