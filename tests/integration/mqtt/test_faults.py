"""What goes wrong with a real broker: each fault has one clear state or log line, and ends by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.errors import SpoolFullError
from eaves.sources.mqtt.source import POLL_S
from tests.fakes.clock import ManualClock
from tests.fakes.mqtt.slow_link import SlowLink
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs.certificates import make_certificate
from tests.integration.mqtt.harness import connect_publisher, number_of, picture, publish, run_source
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.waiting import wait_until

PASSWORD = "s3cret-word"
HOUR_S = 3600


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", (*KEEPING_ALL, "max_queued_messages 0", "log_type all")) as running:
        yield running


@pytest.fixture
def context() -> RecordingContext:
    return RecordingContext("gate")


def numbers(context: RecordingContext) -> list[int]:
    return [number_of(frame.data) for frame in context.frames]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_the_queue_is_full_for_an_hour(broker: Mosquitto, version: str) -> None:
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


def test_the_connection_is_lost_while_the_queue_is_full(broker: Mosquitto, context: RecordingContext) -> None:
    """What is held comes again on the new connection, and keeps its identity: each is stored once."""
    with run_source(broker.url, context, in_flight=4), connect_publisher(broker.url) as publisher:
        context.refuse = SpoolFullError("spool is full (1 GB)")
        for number in range(10):
            publish(publisher, picture(number))
        wait_until(lambda: context.states[-1][0] == "paused", what="paused")
        for _ in range(3):
            broker.wait_for_save()
            reconnects = context.reconnects
            broker.kill()
            broker.start()
            wait_until(lambda reconnects=reconnects: context.reconnects > reconnects, what="a connection")  # type: ignore[misc]
        context.refuse = None
        wait_until(lambda: len(context.frames) >= 10, 30, what="all messages")
        wait_until(lambda: publisher.session, 30, what="the publisher's connection")
        publish(publisher, picture(10))
        wait_until(lambda: 10 in numbers(context), 30, what="the last message")
    assert numbers(context) == list(range(11))


def test_more_than_memory_allows_is_asked_for_again(
    broker: Mosquitto, context: RecordingContext, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_what_had_no_room_is_asked_for_over_a_slow_link(broker: Mosquitto, context: RecordingContext) -> None:
    """A connection that takes longer than a look at the queue is made once, not ended before it is there."""
    link = SlowLink(broker.port, 2.5 * POLL_S)
    context.max_bytes = 100_000
    with (
        run_source(f"mqtt://127.0.0.1:{link.port}", context, version="3.1.1") as source,
        connect_publisher(broker.url) as publisher,
    ):
        source._inbox._max_bytes = 400_000
        context.refuse = SpoolFullError("spool is full (1 GB)")
        for number in range(12):
            publish(publisher, picture(number, 90_000))
        wait_until(lambda: source._missed, what="a message without room")
        context.refuse = None
        wait_until(lambda: set(numbers(context)) == set(range(12)), 60, what="all messages")
    link.close()


def test_a_broker_that_has_lost_the_session(
    tmp_path: Path, context: RecordingContext, caplog: pytest.LogCaptureFixture
) -> None:
    with run_mosquitto(tmp_path / "broker", ("log_type all",)) as broker, run_source(broker.url, context):
        with connect_publisher(broker.url) as publisher:
            publish(publisher, picture(1))
            wait_until(lambda: len(context.frames) == 1, what="the first message")
        broker.kill()
        broker.start()
        wait_until(lambda: context.reconnects == 1, 20, what="the connection")
        wait_until(lambda: "SUBSCRIBE" in broker.log.read_text().rpartition("starting")[2], what="the subscription")
        with connect_publisher(broker.url) as publisher:
            publish(publisher, picture(2))
            wait_until(lambda: numbers(context) == [1, 2], what="the second message")
    assert caplog.text.count("has lost its session") == 1
    assert context.states[-1] == ("watching", "")


def test_a_wrong_password_is_said_and_mended_in_the_file(
    tmp_path: Path, context: RecordingContext, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_tls_with_a_client_certificate(tmp_path: Path, context: RecordingContext) -> None:
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
