"""What goes wrong with a real broker, and images from one in every form."""

import base64
import json
import logging
import time
from pathlib import Path

import pytest

from eaves.errors import SpoolFullError
from eaves.events import Event, encode_structured
from tests.fakes.clock import ManualClock
from tests.fakes.mqtt.old_broker import OldBroker
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs.certificates import make_certificate
from tests.integration.mqtt.harness import connect_publisher, number_of, picture, publish, run_source
from tests.processes.mosquitto import Mosquitto, run_mosquitto
from tests.waiting import wait_until

PASSWORD = "s3cret-word"
HOUR_S = 3600


@pytest.fixture
def context() -> RecordingContext:
    return RecordingContext("gate")


def numbers(context: RecordingContext) -> list[int]:
    return [number_of(frame.data) for frame in context.frames]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.long("connections are lost and made again after their pauses")
def test_the_queue_is_full_for_an_hour(broker: Mosquitto, version: str):
    """What is held is stored on the same connection once there is room: a broker sends it again on a new one only."""
    clock = ManualClock()
    context = RecordingContext("gate", clock=clock)
    with (
        run_source(broker.url, context, version=version, in_flight=4, keepalive_s=5),
        connect_publisher(broker.url) as publisher,
    ):
        context.refuse = SpoolFullError("spool is full (1 GB)")
        for number in range(40):
            publish(publisher, picture(number))
        wait_until(lambda: context.states[-1][0] == "paused", what="paused")
        began = time.monotonic()
        while clock.monotonic() < HOUR_S:
            wait_until(lambda: clock.waiting, what="the source's pause")
            clock.turn(30)
        silent_s = 9 if version == "5" else 0  # mosquitto cuts off after 1.5 x keepalive
        wait_until(lambda: time.monotonic() - began >= silent_s, 20)
        sent = broker.log.read_text().count("Sending PUBLISH to eaves-local-gate")
        assert sent == (4 if version == "5" else 20)  # 3.1.1 can't ask for fewer than the broker's own bound
        context.refuse = None
        clock.turn(30)
        wait_until(lambda: len(context.frames) == 40, what="all messages")
    assert numbers(context) == list(range(40))
    assert (context.dropped, context.reconnects) == ({}, 0)
    assert [state for state, _ in context.states] == ["watching", "paused", "watching"]
    assert context.states[1][1].startswith("spool is full (1 GB)")
    assert broker.log.read_text().count("Sending PUBLISH to eaves-local-gate") == 40


def test_a_source_that_ends_while_the_queue_is_full_leaves_the_message_to_the_broker(broker: Mosquitto):
    contexts = [RecordingContext("gate") for _ in range(2)]
    contexts[0].refuse = SpoolFullError("spool is full (1 GB)")
    with connect_publisher(broker.url) as publisher, run_source(broker.url, contexts[0]):
        publish(publisher, picture(1))
        wait_until(lambda: contexts[0].states[-1][0] == "paused", what="paused")
    with run_source(broker.url, contexts[1]):
        wait_until(lambda: numbers(contexts[1]) == [1], what="the message")


@pytest.mark.long("connections are lost and made again after their pauses")
def test_the_connection_is_lost_while_the_queue_is_full(broker: Mosquitto, context: RecordingContext):
    """What is held comes again on the new connection, and keeps its identity: each is stored once."""
    with run_source(broker.url, context, in_flight=4), connect_publisher(broker.url) as publisher:
        context.refuse = SpoolFullError("spool is full (1 GB)")
        for number in range(10):
            publish(publisher, picture(number))
        wait_until(lambda: context.states[-1][0] == "paused", what="paused")
        for _ in range(3):
            broker.wait_for_save()
            reconnects = context.reconnects
            broker.stop()
            broker.start()
            wait_until(lambda reconnects=reconnects: context.reconnects > reconnects, what="a connection")  # type: ignore[misc]
        context.refuse = None
        wait_until(lambda: len(context.frames) >= 10, 30, what="all messages")
        wait_until(lambda: publisher.session, 30, what="the publisher's connection")
        publish(publisher, picture(10))
        wait_until(lambda: 10 in numbers(context), 30, what="the last message")
    assert numbers(context) == list(range(11))


@pytest.mark.long("connections are lost and made again after their pauses")
def test_more_than_memory_allows_is_asked_for_again(
    broker: Mosquitto, context: RecordingContext, caplog: pytest.LogCaptureFixture
):
    """A broker that speaks MQTT 3.1.1 sends 20 messages at once, of whatever size."""
    context.max_bytes = 100_000
    with (
        run_source(broker.url, context, version="3.1.1") as source,
        connect_publisher(broker.url) as publisher,
    ):
        source._inbox._max_bytes = 400_000
        context.refuse = SpoolFullError("spool is full (1 GB)")
        for number in range(30):
            publish(publisher, picture(number, 90_000))
        wait_until(lambda: source._missed, what="a message without room")
        assert len(source._inbox) == 4
        context.refuse = None
        wait_until(lambda: set(numbers(context)) == set(range(30)), 60, what="all messages")
    assert numbers(context) == sorted(numbers(context))
    assert len(context.frames) <= 30 + context.reconnects * 4
    assert 1 <= context.reconnects <= 10
    assert caplog.text.count("faster than they can be stored") == 1


def test_a_broker_that_has_lost_the_session(
    tmp_path: Path, context: RecordingContext, caplog: pytest.LogCaptureFixture
):
    with run_mosquitto(tmp_path / "broker", ("log_type all",)) as broker, run_source(broker.url, context):
        with connect_publisher(broker.url) as publisher:
            publish(publisher, picture(1))
            wait_until(lambda: len(context.frames) == 1, what="the first message")
        broker.stop()
        broker.start()
        wait_until(lambda: context.reconnects == 1, 20, what="the connection")
        wait_until(lambda: "SUBSCRIBE" in broker.log.read_text().rpartition("starting")[2], what="the subscription")
        with connect_publisher(broker.url) as publisher:
            publish(publisher, picture(2))
            wait_until(lambda: numbers(context) == [1, 2], what="the second message")
    assert caplog.text.count("has lost its session") == 1
    assert context.states[-1] == ("watching", "")


@pytest.mark.long("connections are lost and made again after their pauses")
def test_a_wrong_password_is_said_and_mended_in_the_file(
    tmp_path: Path, context: RecordingContext, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    context.credentials = tmp_path / "secret"
    context.credentials.mkdir()
    (context.credentials / "username").write_text("gate\n")
    (context.credentials / "password").write_text("wrong-word\n")
    began = time.monotonic()
    with (
        run_mosquitto(tmp_path / "broker", users={"gate": PASSWORD}) as broker,
        run_source(broker.url, context, wait=False),
    ):
        state, reason = wait_until(lambda: context.states, what="a state")[0]
        assert state == "waiting"
        assert "refuses the user (not authorized); check the files username and password" in reason
        wait_until(lambda: broker.log.read_text().count("not authorised") >= 4, 30, what="four attempts")
        assert time.monotonic() - began > 0.25 + 0.5 + 1
        assert len(context.states) == 1
        (context.credentials / "password").write_text(f"{PASSWORD}\n")
        wait_until(lambda: context.states[-1][0] == "watching", 30, what="watching")
    shown = repr(context.states) + caplog.text
    assert "wrong-word" not in shown
    assert PASSWORD not in shown


def test_tls_with_a_client_certificate(tmp_path: Path, context: RecordingContext):
    server_certificate, server_key = make_certificate(tmp_path / "server")
    client_certificate, client_key = make_certificate(tmp_path / "client", "gate")
    context.credentials = secret = tmp_path / "secret"
    secret.mkdir()
    lines = (
        f"certfile {server_certificate}",
        f"keyfile {server_key}",
        f"cafile {client_certificate}",
        "require_certificate true",
    )
    with run_mosquitto(tmp_path / "broker", lines) as broker:
        url = broker.url.replace("mqtt://", "mqtts://")
        with run_source(url, context, wait=False):
            wait_until(lambda: context.states, what="a state")
            assert "isn't trusted" in context.states[-1][1]
            (secret / "ca.crt").write_bytes(server_certificate.read_bytes())
            wait_until(lambda: "isn't trusted" not in context.states[-1][1], 20, what="another reason")
            assert "TLS with" in context.states[-1][1]  # the broker wants a certificate
            (secret / "tls.crt").write_bytes(client_certificate.read_bytes())
            (secret / "tls.key").write_bytes(client_key.read_bytes())
            wait_until(lambda: context.states[-1][0] == "watching", 30, what="watching")


VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


def wait_for(context: RecordingContext, count: int) -> None:
    wait_until(lambda: len(context.frames) >= count, what=f"{count} frames")


@VERSIONS
def test_equal_images_sent_twice_are_two_frames(broker: Mosquitto, context: RecordingContext, version: str):
    with run_source(broker.url, context, version=version, camera_level=2), connect_publisher(broker.url) as publisher:
        for _ in range(2):
            publish(publisher, picture(1))
        wait_for(context, 2)
    first, second = context.frames
    assert (first.data, first.subject, first.camera) == (picture(1), "cameras/3/image", "3")
    assert first.data == second.data
    assert first.position != second.position
    assert context.states == [("watching", "")]


def test_an_id_in_a_user_property_needs_a_broker_that_knows_them(broker: Mosquitto, context: RecordingContext):
    old = OldBroker(broker.port)
    with run_source(f"mqtt://127.0.0.1:{old.port}", context, wait=False, id_property="id"):
        wait_until(lambda: context.states, what="a state")
    assert context.states[0] == ("waiting", f"the broker 127.0.0.1:{old.port} doesn't support MQTT 5")
    old.close()


@VERSIONS
def test_cloudevents_and_json(broker: Mosquitto, context: RecordingContext, version: str):
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


def test_what_is_no_image_is_dropped_counted_and_passed(broker: Mosquitto, context: RecordingContext):
    with run_source(broker.url, context), connect_publisher(broker.url) as publisher:
        for payload in (b"ON", b"", b"OFF", b'{"specversion": "1.0"}'):
            publish(publisher, payload)
        publish(publisher, picture(1))
        wait_for(context, 1)
    assert context.dropped == {"unsupported": 3, "unreadable": 1}
    assert len(set(context.reasons)) == 2


def test_messages_of_topics_that_are_no_longer_named_are_left_out(broker: Mosquitto, context: RecordingContext):
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
def test_retained_messages_are_left_out(broker: Mosquitto, context: RecordingContext, version: str):
    with connect_publisher(broker.url) as publisher:
        publish(publisher, picture(1), retain=True)
        with run_source(broker.url, context, version=version):
            publish(publisher, picture(2))
            wait_for(context, 1)
    assert ([number_of(frame.data) for frame in context.frames], context.dropped) == ([2], {})


@VERSIONS
def test_what_is_sent_while_the_agent_is_away_comes_later(broker: Mosquitto, version: str):
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
