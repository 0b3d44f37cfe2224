"""A connection to a real broker, through what brokers do."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.errors import UnreachableError
from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.message import ConnectionSettings, Publication, parse_address
from tests.fakes.mqtt.listener import RecordingListener
from tests.fakes.mqtt.old_broker import OldBroker
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.waiting import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with run_mosquitto(tmp_path / "broker", (*KEEPING_ALL, "log_type all")) as running:
        yield running


@contextmanager
def connected(settings: ConnectionSettings, listener: RecordingListener) -> Iterator[BrokerConnection]:
    connection = BrokerConnection(settings, listener)
    listener.connection = connection
    connection.start()
    try:
        yield connection
    finally:
        connection.stop()


def to(url: str, client_id: str = "test") -> ConnectionSettings:
    return ConnectionSettings(address=parse_address(url), client_id=client_id)


def publication(payload: bytes, topic: str = "a/b") -> Publication:
    return Publication(
        topic=topic, payload=payload, content_type="image/png", user_properties=(("id", "7"), ("id", "ä"))
    )


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_is_published_arrives(broker: Mosquitto, version: str) -> None:
    settings = replace(to(broker.url), version=version)  # type: ignore[arg-type]
    listener = RecordingListener(["a/#"])
    with connected(settings, listener) as connection:
        wait_until(lambda: listener.subscriptions, what="the subscription")
        answer = connection.publish(publication(b"\x00one")).result(10)
        assert answer.code < 0x80
        message = wait_until(lambda: listener.messages, what="the message")[0]
    assert (message.topic, message.payload, message.qos) == ("a/b", b"\x00one", 1)
    assert (message.retain, message.dup) == (False, False)
    assert listener.sessions[0].version == version
    newer = version == "5"
    assert message.content_type == ("image/png" if newer else "")
    assert message.user_properties == ((("id", "7"), ("id", "ä")) if newer else ())


def test_a_broker_that_speaks_only_the_older_version_is_spoken_to_in_it(broker: Mosquitto) -> None:
    old = OldBroker(broker.port)
    listener = RecordingListener(["a"])
    with connected(to(f"mqtt://127.0.0.1:{old.port}"), listener):
        wait_until(lambda: listener.subscriptions, what="the subscription")
        assert [(session.version, session.present) for session in listener.sessions] == [("3.1.1", False)]
        assert (old.refused, listener.reasons) == (1, [])
    old.close()


def test_a_publication_fails_while_there_is_no_broker_and_when_it_goes(broker: Mosquitto) -> None:
    listener = RecordingListener()
    with connected(to(broker.url), listener) as connection:
        wait_until(lambda: connection.session, what="the connection")
        broker.signal(signal.SIGSTOP)
        waiting = connection.publish(publication(b"x"))
        broker.kill()
        with pytest.raises(UnreachableError):
            waiting.result(10)
        with pytest.raises(UnreachableError):
            connection.publish(publication(b"x")).result(0)
        wait_until(lambda: listener.reasons, what="a reason")
        assert f"can't connect to the broker 127.0.0.1:{broker.port}" in connection.reason
        broker.start()
        wait_until(lambda: connection.session, what="the connection")
        assert connection.publish(publication(b"x")).result(10).code < 0x80
        assert connection.reason == ""


def test_many_threads_publish_at_once(broker: Mosquitto) -> None:
    listener = RecordingListener(["a/b"])
    with connected(to(broker.url), listener) as connection:
        wait_until(lambda: listener.subscriptions, what="the subscription")
        codes: list[int] = []

        def publish(number: int) -> None:
            for turn in range(10):
                payload = b"%d-%d-" % (number, turn) + b"x" * 900_000  # more than a socket takes at once
                codes.append(connection.publish(publication(payload)).result(30).code)

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(listener.messages) >= 40, 60, what="40 messages")
        assert len({message.payload[:4] for message in listener.messages}) == 40
        assert (len(codes), max(codes)) == (40, 0)
        assert len(listener.sessions) == 1


def test_a_deaf_broker_is_noticed(broker: Mosquitto) -> None:
    listener = RecordingListener()
    with connected(replace(to(broker.url), keepalive_s=2, connect_timeout_s=1), listener) as connection:
        wait_until(lambda: connection.session, what="the connection")
        broker.signal(signal.SIGSTOP)
        wait_until(lambda: listener.reasons, what="a reason")
        assert listener.reasons == [f"the broker 127.0.0.1:{broker.port} doesn't answer"]
        broker.signal(signal.SIGCONT)
        wait_until(lambda: connection.session, what="the connection")


def test_two_clients_of_one_name_learn_it_and_slow_down(broker: Mosquitto) -> None:
    first, second = RecordingListener(), RecordingListener()
    with connected(to(broker.url, "same"), first), connected(to(broker.url, "same"), second):
        began = time.monotonic()
        wait_until(lambda: len(first.sessions) + len(second.sessions) >= 8, 30, what="8 connections")
        assert time.monotonic() - began > 2
    assert "another client named 'same'" in first.reasons[0]
    assert "another client named 'same'" in second.reasons[0]
