"""One agent with a folder, a broker and a snapshot URL: memory, state of each, signals, and a queue of thousands."""

import io
import json
import logging
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Spool
from tests.contract.sinks import LocalSink, Reported, open_sink
from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.integration.mqtt.harness import connect_publisher, publish
from tests.proc import memory_bytes
from tests.processes.agents import AgentProcess
from tests.processes.mosquitto import Mosquitto, run_mosquitto
from tests.soak.processes import Peer, Record
from tests.waiting import wait_until

MAX_MEMORY_BYTES = 60_000_000
"""Bar for an agent with all three sources, at its peak."""
GROWTH_BYTES = 8_000_000
"""What an agent may take in addition while a queue drains: threads' stacks, SQLite's cache."""
MAX_EXIT_S = 3.0
"""Bar from SIGTERM to the end of the process."""
NAMES = ("folder", "broker", "camera")

_log = logging.getLogger(__name__)


def photo(seed: int, side: int = 640) -> bytes:
    """A JPEG of noise, about 90 KB, different for each seed."""
    pixels = random.Random(seed).randbytes(side * side // 64)
    picture = Image.frombytes("L", (side // 8, side // 8), pixels).resize((side, side)).convert("RGB")
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95)
    return stream.getvalue()


@dataclass
class Place:
    """What three sources read, and the agent that runs them.

    Attributes:
        agent: The agent.
        sink: Sink of the agent's events.
        inbox: The folder.
        broker: The broker.
        camera: The snapshot URL's server.
        busy: Set while all three are to get images.
    """

    agent: AgentProcess
    sink: LocalSink
    inbox: Path
    broker: Mosquitto
    camera: FakeCamera
    busy: threading.Event = field(default_factory=threading.Event)

    def sources(self) -> dict[str, dict[str, Any]]:
        """The report of each source by name."""
        report = json.loads(self.agent.get("/health")[1])["report"]
        return {source["name"]: source for source in report["sources"]}

    def feed(self) -> None:
        """Write files and publish messages for as long as it is busy; the camera has a new picture at each request."""
        images = [photo(number) for number in range(10)]
        number = 0
        with connect_publisher(self.broker.url) as connection:
            while self.busy.is_set():
                number += 1
                (self.inbox / f"{number}.jpg").write_bytes(images[number % 10] + number.to_bytes(8))
                publish(connection, images[number % 10] + number.to_bytes(8), "hall/image")


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Start everything; all sources watch when the block begins."""
    pictures = [photo(number) for number in range(10)]
    count = iter(range(1_000_000))

    def answer(_: Asked) -> bytes:
        return respond(200, pictures[next(count) % 10], Content_Type="image/jpeg")

    with open_sink() as sink, run_mosquitto(folder / "broker") as broker, open_camera(answer) as camera:
        inbox = folder / "agent" / "inbox"
        sources = [
            {"name": "folder", "kind": "folder", "path": str(inbox), "settle_s": 0.1},
            {"name": "broker", "kind": "mqtt", "url": broker.url, "topics": ["hall/#"], "max_side": 320},
            {
                "name": "camera",
                "kind": "http",
                "url": f"{camera.url}/snap.jpg",
                "every_s": 0.1,
                "crop": [0, 0, 0.5, 0.5],
            },
        ]
        agent = AgentProcess(folder / "agent", sink.url, EAVES_SOURCES=json.dumps(sources))
        place = Place(agent, sink, inbox, broker, camera)
        agent.start()
        try:
            wait_until(lambda: {one["state"] for one in place.sources().values()} == {"watching"}, 30, what="sources")
            yield place
        finally:
            place.busy.clear()
            agent.stop(signal.SIGKILL)


@contextmanager
def feeding(place: Place) -> Iterator[None]:
    """All three sources get images while the block runs."""
    place.busy.set()
    thread = threading.Thread(target=place.feed)
    thread.start()
    try:
        yield
    finally:
        place.busy.clear()
        thread.join(30)


def test_three_busy_sources_take_less_than_60_mb_and_each_is_reported(tmp_path: Path):
    with open_place(tmp_path) as place, feeding(place):
        wait_until(lambda: all(one["captured"] >= 40 for one in place.sources().values()), 60, what="120 images")
        wait_until(lambda: len({event.source for event in place.sink.received}) == 3, 30, what="events of each")
        peak = memory_bytes(place.agent.pid, "VmHWM")
        _log.info("peak of an agent with folder, mqtt and http: %.1f MB", peak / 1e6)
        assert peak < MAX_MEMORY_BYTES
        for name, source in place.sources().items():
            assert (name in NAMES, source["state"], source["reason"], source["reconnects"]) == (True, "watching", "", 0)
            assert source["last_captured_age_s"] < 10
        assert {event.extensions.get("scaledto") for event in of_source(place, "broker")} == {"320x320"}
        assert {event.extensions.get("crop") for event in of_source(place, "camera")} == {"0,0,320,320"}


def of_source(place: Place, name: str) -> list[Event]:
    """The events of one source that arrived."""
    return [event for event in place.sink.received if event.source == f"/eaves/test/{name}"]


def test_an_agent_with_three_busy_sources_and_a_sink_that_hangs_ends_within_3_s(tmp_path: Path):
    with open_place(tmp_path) as place, feeding(place):
        released = threading.Event()

        def hang(_: Event) -> Reported:
            released.wait(60)
            return Reported()

        place.sink.decide = hang
        wait_until(lambda: all(one["captured"] >= 5 for one in place.sources().values()), 60, what="images")
        began = time.monotonic()
        place.agent.stop()
        took_s = time.monotonic() - began
        released.set()
        _log.info("from SIGTERM to the end: %.2f s", took_s)
        assert took_s < MAX_EXIT_S


def test_one_source_that_fails_holds_up_no_other_and_recovers_by_itself(tmp_path: Path):
    with open_place(tmp_path) as place:
        place.broker.stop()
        wait_until(lambda: place.sources()["broker"]["state"] == "waiting", 30, what="a source without its broker")
        (place.inbox / "a.jpg").write_bytes(photo(1))
        wait_until(lambda: of_source(place, "folder"), 30, what="the folder's image")
        status, text = place.agent.get("/health")
        assert status == 503
        (reason,) = json.loads(text)["reasons"]
        assert reason.startswith("source broker is waiting: ")
        assert place.agent.get("/health/liveness")[0] == 200
        place.broker.start()
        wait_until(lambda: place.sources()["broker"]["state"] == "watching", 60, what="the broker's return")
        report = place.sources()["broker"]
        assert report["reconnects"] == 1
        assert report["last_error"]
        assert report["last_error_age_s"] < 90
        metrics = place.agent.get("/metrics")[1]
        assert 'eaves_source_reconnects_last_hour{source="broker"} 1' in metrics
        assert 'eaves_source_state{source="folder",state="watching"} 1' in metrics


def drain(folder: Path, count: int, size_bytes: int) -> list[int]:
    """Let an agent deliver so many queued images; returns samples of its memory in bytes."""
    record = folder / "received"
    sink = Peer("--record", str(record))
    agent = AgentProcess(folder / "agent", sink.url)
    with Spool(agent.spool) as spool:
        for number in range(count):
            event = Event(
                id=str(number),
                source="/eaves/test/cam",
                type=IMAGE_CAPTURED,
                subject=f"{number}.jpg",
                datacontenttype="image/jpeg",
                data=random.Random(number).randbytes(size_bytes),
            )
            spool.put(event, lanes=("sink",))
    received, samples = Record(record), []
    found: set[str] = set()

    def more() -> bool:
        before = len(found)
        found.update(subject for subject, _ in received.read())
        return len(found) > before

    try:
        sink.start()
        agent.start()
        while len(found) < count:
            wait_until(more, 60, pause_s=0.2, what="images")
            samples.append(memory_bytes(agent.pid))
        assert agent.lane("sink").get("queued", 0) == 0
    finally:
        agent.stop()
        sink.kill()
    return samples


def check_flat(samples: list[int]) -> None:
    """Memory after the first tenth of the time stays within `GROWTH_BYTES`."""
    begun = samples[len(samples) // 10]
    _log.info("memory while the queue drains: %.1f MB, then up to %.1f MB", begun / 1e6, max(samples) / 1e6)
    assert max(samples) < begun + GROWTH_BYTES
    assert max(samples) < MAX_MEMORY_BYTES


@pytest.mark.timeout(300)
def test_a_thousand_queued_images_drain_with_constant_memory(tmp_path: Path):
    check_flat(drain(tmp_path, 1_000, 50_000))
