"""`python -P -m eaves.link.relay` as a process: events over HTTP in, a receiver over TLS at the other end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.link.settings import BROKER
from eaves.spool import Spool
from tests.fakes.http.receiver import FakeReceiver, Reply, receiving
from tests.inputs.certificates import make_certificate
from tests.proc import memory_bytes
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until


def prediction(number: int, label: str = "rose", **fields: Any) -> Event:
    known: dict[str, Any] = {
        "id": f"id-{number}",
        "source": "/eaves/north/flowers",
        "type": IMAGE_CLASSIFIED,
        "datacontenttype": "application/json",
        "data": json.dumps({"predictions": [{"label": label, "score": 0.97}], "number": number}).encode(),
        "extensions": {"label": label},
    }
    return Event(**{**known, **fields})


def image(number: int, size_bytes: int = 100_000) -> Event:
    data = b"\xff\xd8\xff" + os.urandom(size_bytes)
    return prediction(
        number, source="/eaves/north/gate", type=IMAGE_CAPTURED, datacontenttype="image/jpeg", data=data, extensions={}
    )


END_S = 8.0
"""Shorter than a request to a silent receiver takes, and longer than a busy machine needs to end a process."""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[FakeReceiver]:
    with receiving(tmp_path / "link") as made:
        yield made


def credentials(tmp_path: Path) -> dict[str, str]:
    return {"EAVES_CREDENTIALS": str(tmp_path / "link")}


def test_credentials_that_were_replaced_are_tried_at_once(receiver: FakeReceiver, tmp_path: Path):
    authority = tmp_path / "link" / "ca.crt"
    right, (wrong, _) = authority.read_bytes(), make_certificate(tmp_path / "other")
    with RelayProcess(tmp_path / "relay", receiver.url, **credentials(tmp_path)) as relay:
        wait_until(lambda: relay.link()["state"] == "up")
        authority.write_bytes(wrong.read_bytes())
        wait_until(lambda: relay.link()["state"] == "down", 15, what="the refusal of the receiver's certificate")
        assert "not trusted" in relay.link()["reason"]
        authority.write_bytes(right)
        wait_until(lambda: relay.link()["state"] == "up", 15)


def test_the_sites_own_broker_gets_a_copy_while_the_link_is_down(tmp_path: Path):
    with receiving(tmp_path / "link", tls=False) as broker:
        site_broker = f"{broker.url}/v1/functions/broker"
        broker.token = "of-nobody"
        with RelayProcess(tmp_path / "relay", "http://127.0.0.1:9", K_SINK=site_broker) as relay:
            assert relay.post(prediction(1))[0] == 202
            wait_until(lambda: relay.lane("broker").get("paused"), what="a broker that asks who it is")
            assert relay.lane("archive")["queued"] == 1
            assert json.loads(relay.get("/health")[1])["reasons"]


@pytest.mark.parametrize("state", ["idle", "silent", "away"])
def test_it_ends_soon_whatever_the_receiver_does(receiver: FakeReceiver, tmp_path: Path, state: str):
    to = "https://127.0.0.1:9" if state == "away" else receiver.url
    with RelayProcess(tmp_path / "relay", to, **credentials(tmp_path)) as relay:
        if state == "silent":
            receiver.script = lambda events: Reply(silent=True)
            relay.post(prediction(1))
            wait_until(lambda: receiver.requests)
        elif state == "idle":
            wait_until(lambda: relay.link()["up"])
        began = time.monotonic()
        relay.stop()
        assert time.monotonic() - began < END_S


def test_metrics_and_the_queue_are_there_for_operators(receiver: FakeReceiver, tmp_path: Path):
    def refuse(events: list[Event]) -> Reply:
        refused = [{"index": index, "status": 409, "detail": "another event"} for index, _ in enumerate(events)]
        return Reply(body=json.dumps({"stored": 0, "repeated": 0, "refused": refused}).encode())

    with RelayProcess(tmp_path / "relay", receiver.url, **credentials(tmp_path)) as relay:
        receiver.script = refuse
        relay.post(prediction(1))
        wait_until(lambda: relay.lane("archive").get("dead") == 1)
        metrics = relay.get("/metrics")[1]
        assert "eaves_link_up 1\n" in metrics
        assert 'eaves_link_state{state="up"} 1\n' in metrics
        assert "eaves_link_refused_total 1\n" in metrics
        assert 'eaves_deliveries_total{lane="archive",outcome="dead"} 1\n' in metrics
        receiver.script = lambda events: None
        command = [sys.executable, "-P", "-m", "eaves.sources.queue", '{"do": "retry", "lane": "archive"}']
        subprocess.run(command, env=relay.environ, check=True, capture_output=True)
        wait_until(lambda: receiver.ids() == ["id-1"])


def test_another_event_under_a_known_id_is_kept_as_a_dead_letter(receiver: FakeReceiver, tmp_path: Path):
    measured = prediction(1, source="/eaves/north/sensor", type="com.example.measured", extensions={})
    fire = replace(measured, data=b'{"fire": true}')
    with RelayProcess(tmp_path / "relay", receiver.url, **credentials(tmp_path)) as relay:
        assert relay.post(measured)[0] == 202
        wait_until(lambda: receiver.ids() == ["id-1"])
        for _ in range(2):  # the second time because the answer was lost, say
            assert relay.post(fire)[0] == 202
        assert relay.lane("archive")["dead"] == 1
        assert "eaves_link_conflicting_total 2\n" in relay.get("/metrics")[1]
        assert relay.post(replace(prediction(2), data=b"{}"))[0] == relay.post(prediction(2))[0] == 202
        wait_until(lambda: receiver.ids() == ["id-1", "id-2"])
        assert relay.lane("archive")["dead"] == 1
    assert (
        "as a dead letter: an event with the same source and id but other content was received before"
        in relay.log.read_text()
    )
    with Spool(relay.spool) as spool:
        assert [letter.entry.event for letter in spool.dead()] == [fire]


def test_it_stays_small(receiver: FakeReceiver, tmp_path: Path):
    with RelayProcess(tmp_path / "relay", receiver.url, **credentials(tmp_path)) as relay:
        wait_until(lambda: relay.link()["up"])
        assert memory_bytes(relay.pid) < 45_000 * 1024
        receiver.script = lambda events: Reply(status=503)
        for first in range(0, 5_000, 500):
            assert relay.post_batch([prediction(number) for number in range(first, first + 500)]) == 202
        receiver.script = lambda events: None
        wait_until(lambda: len(receiver.received) == 5_000, 60)
        assert memory_bytes(relay.pid) < 50_000 * 1024


def test_the_sites_own_broker_gets_back_nothing_that_it_has_sent_and_copies_wait_for_it(tmp_path: Path):
    """A SinkBinding takes K_SINK away while it finds no Broker."""
    with RelayProcess(tmp_path / "relay", "http://127.0.0.1:9", EAVES_HAS_BROKER="true") as relay:
        assert relay.post(prediction(1), path="/from-broker")[0] == 202
        assert relay.post(prediction(2))[0] == 202
        assert relay.post(prediction(3), path="/elsewhere")[0] == 404
        assert relay.lane("archive")["queued"] == 2
        wait_until(lambda: "K_SINK is not set" in relay.lane("broker").get("reason", ""), what="no Broker")
        assert relay.lane("broker")["queued"] == 1


def test_copies_for_a_broker_that_was_switched_off_take_no_room_and_go_once_it_is_back(tmp_path: Path):
    relay = RelayProcess(tmp_path / "relay", "http://127.0.0.1:9", EAVES_HAS_BROKER="true")
    relay.start()
    assert relay.post(prediction(1))[0] == 202
    relay.stop()
    found = []
    for has_broker in ("false", "true"):
        relay.environ["EAVES_HAS_BROKER"] = has_broker
        relay.start()
        relay.stop()
        with Spool(relay.spool) as spool:
            found.append(spool.counts()[BROKER])
    assert found == [(0, 1), (1, 0)]
