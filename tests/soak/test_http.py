"""Images over real HTTP and disk: folder source, spool, a function and a subscriber that is down a third of the time.

The source, the spool and the deliveries run in the test's process, so that its memory, files and threads are theirs.
The function and the subscriber are processes. A file is deleted once its prediction has arrived.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.delivery import SinkClient
from eaves.sources.__main__ import build_source
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.deliverers import build_deliverers
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.folder.kind import KIND, FolderSourceSettings
from eaves.sources.options import FrameOptions
from eaves.sources.settings import AgentSettings, SourceSettings
from eaves.spool import Spool
from tests.soak.measure import Sample, slope, take_sample
from tests.soak.processes import Peer, Record

MB = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"
STUCK_S = 120.0
"""Seconds without a prediction after which images count as lost; a lane rests at most 30 s after its sink is back."""
AHEAD = 1_000
"""Images in the folder that were not predicted yet."""
SAMPLES = 20

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Edge:
    """What runs, and what came of it.

    Attributes:
        folder: The watched folder.
        spool: The agent's queue.
        subscriber: Takes the predictions.
        record: File of what the subscriber got.
        source: The source.
        predicted: A byte for each image, 1 when it was predicted; a set of names would be the memory that grows.
        sent: Images written.
        arrived: Images predicted.
        outages: How often the subscriber was down.
        samples: Measurements.
    """

    folder: Path
    spool: Spool
    subscriber: Peer
    record: Path
    source: SupervisedSource
    predicted: bytearray
    sent: int = 0
    arrived: int = 0
    outages: int = 0
    samples: list[Sample] = field(default_factory=list)


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Log nothing: pytest keeps every record, and would grow."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def running_edge(root: Path, images: int) -> Iterator[Edge]:
    """Start everything for so many images; stop it at the end."""
    folder, record = root / "images", root / "received"
    folder.mkdir()
    function, subscriber = Peer("--reply"), Peer("--record", str(record))
    try:
        function.start()
        subscriber.start()
        settings = AgentSettings(spool=root / "agent.db", sink=subscriber.url, function=function.url)
        with Spool(settings.spool, limits=settings.limits(remembered=2_000_000)) as spool, SinkClient() as client:
            camera = ConfiguredSource(
                common=SourceSettings(name="camera"),
                options=FrameOptions(),
                kind=KIND,
                settings=FolderSourceSettings(path=folder),
            )
            source = build_source(camera, settings, spool, {})
            deliverers = build_deliverers(settings, spool, client, {})
            for deliverer in deliverers:
                deliverer.start()
            source.start()
            try:
                yield Edge(
                    folder=folder,
                    spool=spool,
                    subscriber=subscriber,
                    record=record,
                    source=source,
                    predicted=bytearray(images),
                )
            finally:
                stop_sources([source])
                for deliverer in deliverers:
                    deliverer.stop()
    finally:
        for peer in (function, subscriber):
            peer.kill()


def run(edge: Edge, up_s: float) -> None:
    """Send images, delete each that is predicted, and let the subscriber come and go.

    Args:
        edge: Edge that is run.
        up_s: Seconds for which the subscriber runs before it is down for half as many.
    """
    images, record = len(edge.predicted), Record(edge.record)
    began = progress_at = time.monotonic()
    while edge.arrived < images:
        down = (time.monotonic() - began) % (1.5 * up_s) >= up_s
        if down and edge.subscriber.running:
            edge.subscriber.kill()
            edge.outages += 1
        elif not down and not edge.subscriber.running:
            edge.subscriber.start()
        while edge.sent < min(images, edge.arrived + AHEAD):
            (edge.folder / f"{edge.sent:06}.png").write_bytes(PNG + str(edge.sent).encode() + bytes(500))
            edge.sent += 1
        for name, _ in record.read():
            number = int(name.partition(".")[0])
            if not edge.predicted[number]:
                (edge.folder / name).unlink()
                edge.predicted[number] = 1
                edge.arrived, progress_at = edge.arrived + 1, time.monotonic()
        assert time.monotonic() - progress_at < STUCK_S, report_stuck(edge)
        if edge.arrived * SAMPLES >= images * (len(edge.samples) + 1):
            files = [edge.spool.path.with_name(f"{edge.spool.path.name}{end}") for end in ("", "-wal")]
            edge.samples.append(take_sample(edge.arrived, files, edge.spool))
        time.sleep(0.05)


def report_stuck(edge: Edge) -> str:
    state = edge.source.counters.state
    return f"{edge.arrived} of {edge.sent} images arrived; {edge.spool.counts()}; the source is {state}"


def check(edge: Edge) -> None:
    """Everything arrived, under one id each, and what is held is bounded."""
    pairs = set(Record(edge.record).read())
    assert len(pairs) == len({event_id for _, event_id in pairs}) == len({name for name, _ in pairs})
    assert len(pairs) == len(edge.predicted) == edge.arrived
    assert list(edge.folder.iterdir()) == []
    assert edge.spool.depth() == 0
    assert edge.spool.dead_bytes() == 0
    steady = edge.samples[len(edge.samples) // 2 :]
    assert max(sample.open_files for sample in steady) <= steady[0].open_files + 3
    assert max(sample.threads for sample in steady) <= steady[0].threads
    assert max(sample.files_bytes["agent.db-wal"] for sample in steady) <= 70 * MB


@pytest.mark.timeout(300)
def test_two_thousand_images(tmp_path: Path) -> None:
    with running_edge(tmp_path, 2_000) as edge:
        run(edge, up_s=2)
        check(edge)
    assert edge.outages >= 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_images(tmp_path: Path) -> None:
    with running_edge(tmp_path, 100_000) as edge:
        run(edge, up_s=40)
        check(edge)
    (tmp_path / "samples.txt").write_text("\n".join(map(str, edge.samples)))
    steady = edge.samples[len(edge.samples) // 2 :]
    assert slope(steady, [sample.memory_bytes for sample in steady]) < 5 * MB
    assert max(sample.files_bytes["agent.db"] for sample in steady) < 40 * MB
