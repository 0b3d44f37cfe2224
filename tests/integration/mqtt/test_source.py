"""Images from a real broker, in every form."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.events import Event, encode_structured
from tests.fakes.mqtt.old_broker import OldBroker
from tests.fakes.sources.source_context import RecordingContext
from tests.integration.mqtt.harness import connect_publisher, number_of, picture, publish, run_source
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.waiting import wait_until

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", KEEPING_ALL) as running:
        yield running


@pytest.fixture
def context() -> RecordingContext:
    return RecordingContext("gate")


def wait_for(context: RecordingContext, count: int) -> None:
    wait_until(lambda: len(context.frames) >= count, what=f"{count} frames")


@VERSIONS
def test_equal_images_sent_twice_are_two_frames(broker: Mosquitto, context: RecordingContext, version: str) -> None:
    with run_source(broker.url, context, version=version, camera_level=2), connect_publisher(broker.url) as publisher:
        for _ in range(2):
            publish(publisher, picture(1))
        wait_for(context, 2)
    first, second = context.frames
    assert (first.data, first.subject, first.camera) == (picture(1), "cameras/3/image", "3")
    assert first.data == second.data
    assert first.position != second.position
    assert context.states == [("watching", "")]


def test_an_id_in_a_user_property_needs_a_broker_that_knows_them(broker: Mosquitto, context: RecordingContext) -> None:
    old = OldBroker(broker.port)
    with run_source(f"mqtt://127.0.0.1:{old.port}", context, wait=False, id_property="id"):
        wait_until(lambda: context.states, what="a state")
    assert context.states[0] == ("waiting", f"the broker 127.0.0.1:{old.port} doesn't support MQTT 5")
    old.close()


@VERSIONS
def test_cloudevents_and_json(broker: Mosquitto, context: RecordingContext, version: str) -> None:
    attributes = {"id": "1", "source": "/x", "type": "t", "specversion": "1.0", "line": "north"}
    structured = Event(id="2", source="/x", type="t", data=picture(2), datacontenttype="image/png")
    plain = {"image": base64.b64encode(picture(3)).decode(), "id": 3}
    with (
        run_source(broker.url, context, version=version, image_at="/image", id_at="/id"),
        connect_publisher(broker.url) as publisher,
    ):
        publish(publisher, picture(1), properties=list(attributes.items()), content_type="image/png")
        publish(publisher, encode_structured(structured)[1], content_type="application/cloudevents+json")
        publish(publisher, json.dumps(plain).encode())
        wait_for(context, 3)
    assert [number_of(frame.data) for frame in context.frames] == [1, 2, 3]
    ids = [frame.extensions.get("senderid") for frame in context.frames]
    assert ids == (["1", "2", "3"] if version == "5" else [None, "2", "3"])  # 3.1.1 has no user properties


def test_what_is_no_image_is_dropped_counted_and_passed(broker: Mosquitto, context: RecordingContext) -> None:
    with run_source(broker.url, context), connect_publisher(broker.url) as publisher:
        for payload in (b"ON", b"", b"OFF", b'{"specversion": "1.0"}'):
            publish(publisher, payload)
        publish(publisher, picture(1))
        wait_for(context, 1)
    assert context.dropped == {"unsupported": 3, "unreadable": 1}
    assert len(set(context.reasons)) == 2


def test_messages_of_topics_that_are_no_longer_named_are_left_out(broker: Mosquitto, context: RecordingContext) -> None:
    with run_source(broker.url, RecordingContext("gate"), topics=("cameras/#", "old/#")):
        pass
    with run_source(broker.url, context), connect_publisher(broker.url) as publisher:
        for number in range(3):
            publish(publisher, picture(number), "old/x")
        publish(publisher, picture(9))
        wait_for(context, 1)
    assert [number_of(frame.data) for frame in context.frames] == [9]
    assert "earlier subscription" in context.reasons[0]


@VERSIONS
def test_retained_messages_are_left_out(broker: Mosquitto, context: RecordingContext, version: str) -> None:
    with connect_publisher(broker.url) as publisher:
        publish(publisher, picture(1), retain=True)
        with run_source(broker.url, context, version=version):
            publish(publisher, picture(2))
            wait_for(context, 1)
    assert ([number_of(frame.data) for frame in context.frames], context.dropped) == ([2], {})


@VERSIONS
def test_what_is_sent_while_the_agent_is_away_comes_later(broker: Mosquitto, version: str) -> None:
    with run_source(broker.url, RecordingContext("gate"), version=version):
        pass
    context = RecordingContext("gate")
    with connect_publisher(broker.url) as publisher:
        for number in range(50):
            publish(publisher, picture(number))
        with run_source(broker.url, context, version=version):
            wait_for(context, 50)
    assert [number_of(frame.data) for frame in context.frames] == list(range(50))
    assert context.reconnects == 0
