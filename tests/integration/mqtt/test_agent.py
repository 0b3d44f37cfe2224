"""A whole agent, from a broker to a function, and its connection through what brokers do."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import UnreachableError
from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.message import ConnectionSettings, Publication, parse_address
from tests.contract.sinks import LocalSink
from tests.fakes.mqtt.listener import RecordingListener
from tests.fakes.mqtt.old_broker import OldBroker
from tests.integration.mqtt.harness import connect_publisher, number_of, picture, publish
from tests.proc import memory_bytes
from tests.processes.agents import AgentProcess
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.waiting import wait_until

TOPIC = "cameras/3/image"
LARGE_BYTES = 60_000_000
GROWTH_BYTES = 12_000_000
"""What an agent may hold in addition while images flow: threads' stacks, SQLite's cache, what malloc keeps."""

STOP_S = 5.0
"""Longest end of an agent, seconds: 1 s here, and what a busy machine takes."""


@contextmanager
def run_agent(
    folder: Path, sink: str, broker: Mosquitto, *, function: str = "", **values: Any
) -> Iterator[AgentProcess]:
    """An agent with one MQTT source, which watches when the block begins."""
    source = {"name": "gate", "kind": "mqtt", "url": broker.url, "topics": ["cameras/#"], **values}
    agent = AgentProcess(folder / "agent", sink, EAVES_SOURCES=json.dumps([source]), EAVES_FUNCTION_URL=function)
    agent.start()
    try:
        wait_until(lambda: is_watching(agent), 30, what="watching")
        yield agent
    finally:
        agent.stop()


def is_watching(agent: AgentProcess) -> bool:
    return '"source gate is watching"' in agent.log.read_text()


def numbers(sink: LocalSink) -> Counter[int]:
    return Counter(number_of(event.data) for event in sink.received)


def metric(agent: AgentProcess, name: str) -> int:
    """The value of one metric; 0 when it isn't there."""
    found = (line.split()[-1] for line in agent.get("/metrics")[1].splitlines() if line.startswith(name))
    return int(float(next(found, "0")))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_message_larger_than_the_agents_memory_may_grow(tmp_path: Path, version: str):
    """MQTT 5: the client asks the broker not to send it. 3.1.1: it is read, dropped in pieces and acknowledged."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    with run_mosquitto(tmp_path / "broker") as broker, run_agent(tmp_path, "", broker, version=version) as agent:
        before = memory_bytes(agent.pid)
        command = ["mosquitto_pub", "-p", str(broker.port), "-t", TOPIC, "-q", "1", "-f", str(large)]
        subprocess.run(command, check=True, timeout=60)
        with connect_publisher(broker.url) as publisher:
            publish(publisher, picture(1), TOPIC)
        wait_until(lambda: metric(agent, 'eaves_captured_total{source="gate"}') == 1, 60, what="the next image")
        assert memory_bytes(agent.pid, "VmHWM") - before < GROWTH_BYTES
        assert metric(agent, 'eaves_source_reconnects_last_hour{source="gate"}') == 0
        too_large = metric(agent, 'eaves_dropped_total{source="gate",cause="too_large"}')
        assert too_large == (0 if version == "5" else 1)


@pytest.mark.long("messages at a rate, for two seconds or sixty")
@pytest.mark.parametrize("seconds", [pytest.param(2, id="2 s"), pytest.param(60, marks=pytest.mark.slow, id="60 s")])
@pytest.mark.timeout(900)
def test_500_messages_a_second(tmp_path: Path, seconds: int):
    """More than a disk can store durably: the broker keeps the rest, the agent's memory stays as it is."""
    lines = ("max_queued_messages 0",)
    with (
        run_mosquitto(tmp_path / "broker", lines) as broker,
        run_agent(tmp_path, "", broker) as agent,
        connect_publisher(broker.url) as publisher,
    ):
        publish(publisher, picture(0), TOPIC)
        before = memory_bytes(agent.pid)
        count = 1 + publish_at(publisher, per_s=500, seconds=seconds)
        wait_until(lambda: metric(agent, 'eaves_captured_total{source="gate"}') == count, 600, pause_s=0.2)
        assert memory_bytes(agent.pid, "VmHWM") - before < GROWTH_BYTES
        assert metric(agent, "eaves_dropped_total") == 0
        assert metric(agent, 'eaves_source_reconnects_last_hour{source="gate"}') == 0


def publish_at(publisher: BrokerConnection, *, per_s: int, seconds: int) -> int:
    """Publish at a rate, without waiting for the broker; returns how many, once it has them all."""
    count = per_s * seconds
    began, answers = time.monotonic(), []
    for number in range(1, count + 1):
        answers.append(publisher.publish(Publication(topic=TOPIC, payload=picture(number))))
        wait_until(lambda due=began + number / per_s: time.monotonic() >= due, pause_s=0.001)  # type: ignore[misc]
    assert all(answer.result(60).code < 0x80 for answer in answers)
    return count


@pytest.mark.parametrize("identified", [True, False], ids=["with ids", "raw"])
def test_an_agent_that_is_killed_loses_nothing(tmp_path: Path, sink: LocalSink, identified: bool):
    in_flight, count, kills = 4, 120, 3
    values: dict[str, Any] = {"in_flight": in_flight, "id_property": "id" if identified else ""}
    with run_mosquitto(tmp_path / "broker", KEEPING_ALL) as broker, connect_publisher(broker.url) as publisher:
        with run_agent(tmp_path, sink.url, broker, **values) as agent:

            def send() -> None:
                for number in range(count):
                    publish(publisher, picture(number), TOPIC, properties=[("id", str(number))])

            thread = threading.Thread(target=send)
            thread.start()
            for kill in range(kills):
                wait_until(lambda least=10 + 30 * kill: len(numbers(sink)) >= least, 60, what="images")  # type: ignore[misc]
                agent.stop(signal.SIGKILL)
                agent.start()
            thread.join(60)
            wait_until(lambda: len(numbers(sink)) == count, 60, what="all images")
        ids = {event.id for event in sink.received}
    assert len(ids) == count if identified else count <= len(ids) <= count + kills * in_flight


def test_sigterm_ends_an_agent_soon_though_its_broker_is_deaf(tmp_path: Path):
    with run_mosquitto(tmp_path / "broker") as broker, run_agent(tmp_path, "", broker) as agent:
        broker.signal(signal.SIGSTOP)
        began = time.monotonic()
        agent.stop()
        assert time.monotonic() - began < STOP_S


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


def test_a_broker_that_speaks_only_the_older_version_is_spoken_to_in_it(broker: Mosquitto):
    old = OldBroker(broker.port)
    listener = RecordingListener(["a"])
    with connected(to(f"mqtt://127.0.0.1:{old.port}"), listener):
        wait_until(lambda: listener.subscriptions, what="the subscription")
        assert [(session.version, session.present) for session in listener.sessions] == [("3.1.1", False)]
        assert (old.refused, listener.reasons) == (1, [])
    old.close()


def test_a_publication_fails_while_there_is_no_broker_and_when_it_goes(broker: Mosquitto):
    listener = RecordingListener()
    with connected(to(broker.url), listener) as connection:
        wait_until(lambda: connection.session, what="the connection")
        broker.signal(signal.SIGSTOP)
        waiting = connection.publish(publication(b"x"))
        broker.stop()
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


def test_many_threads_publish_at_once(broker: Mosquitto):
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


@pytest.mark.long("connections are lost and made again after their pauses")
def test_a_deaf_broker_is_noticed(broker: Mosquitto):
    listener = RecordingListener()
    with connected(replace(to(broker.url), keepalive_s=2, connect_timeout_s=1), listener) as connection:
        wait_until(lambda: connection.session, what="the connection")
        broker.signal(signal.SIGSTOP)
        wait_until(lambda: listener.reasons, what="a reason")
        assert listener.reasons == [f"the broker 127.0.0.1:{broker.port} doesn't answer"]
        broker.signal(signal.SIGCONT)
        wait_until(lambda: connection.session, what="the connection")


@pytest.mark.long("connections are lost and made again after their pauses")
def test_two_clients_of_one_name_learn_it_and_slow_down(broker: Mosquitto):
    first, second = RecordingListener(), RecordingListener()
    with connected(to(broker.url, "same"), first), connected(to(broker.url, "same"), second):
        began = time.monotonic()
        wait_until(lambda: len(first.sessions) + len(second.sessions) >= 8, 30, what="8 connections")
        assert time.monotonic() - began > 2
    assert "another client named 'same'" in first.reasons[0]
    assert "another client named 'same'" in second.reasons[0]
