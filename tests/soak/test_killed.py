"""SIGKILL of the platform, functions, sources and the subscriber at random moments loses no image and doubles no id."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.artifact import open_artifact
from eaves.events import IMAGE_CLASSIFIED
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import DeliverySettings, SourceSpec, TriggerSpec, default_trigger
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.soak.processes import FUNCTION, SOURCE, Peer, Platform, Record

NAME = "colours"
PLATFORM, SUBSCRIBER = "platform", "subscriber"
KINDS = (PLATFORM, FUNCTION, SOURCE, SUBSCRIBER)
AHEAD = 12
"""One image in so many may be in the folder and not yet delivered, so that kills meet every part at work."""
STUCK_S = 180.0
"""Seconds without a delivery after which images count as lost. An agent that ended four times in a row rests 16 s, and
a lane whose subscriber is gone 2 s; the rest is for a busy machine."""
PATIENCE = DeliverySettings(backoff_s=0.1, backoff_cap_s=2.0)


@dataclass(slots=True)
class Edge:
    """A real platform, its subscriber and the folder that it watches.

    Attributes:
        folder: The watched folder.
        platform: `eaves up`.
        subscriber: Takes the predictions.
        record: What the subscriber got.
        ids: Distinct ids of predictions, by image.
        predictions: Predictions that arrived, repeats included.
        kills: Kills so far, by kind.
        staging: Folder in which images are written before they are moved into the inbox.
    """

    folder: Path
    platform: Platform
    subscriber: Peer
    record: Record
    ids: dict[str, set[str]] = field(default_factory=dict)
    predictions: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def staging(self) -> Path:
        return self.folder.with_name("staging")

    def write(self, name: str, data: bytes) -> None:
        """Write an image beside the folder and move it in."""
        (self.staging / name).write_bytes(data)
        (self.staging / name).rename(self.folder / name)

    def collect(self) -> int:
        """Take in what has arrived; returns how many images were new."""
        before = len(self.ids)
        for subject, event_id in self.record.read():
            self.ids.setdefault(subject, set()).add(event_id)
            self.predictions += 1
        return len(self.ids) - before

    def kill(self, kind: str, rest_s: float) -> bool:
        """Kill one process; False when there is none of that kind now.

        Args:
            kind: One of `KINDS`.
            rest_s: Seconds for which what the test started itself stays away.
        """
        if kind in {FUNCTION, SOURCE}:
            if not self.platform.kill_child(kind):
                return False
        else:
            ended = self.platform if kind == PLATFORM else self.subscriber
            ended.kill()
            time.sleep(rest_s)
            ended.start()
        self.kills[kind] += 1
        return True


@contextmanager
def running_edge(root: Path) -> Iterator[Edge]:
    """Start everything; leave no process behind."""
    artifact = write_graph_artifact(root / "artifact")
    folder, record = root / "images", root / "received"
    for path in (folder, root / "staging"):
        path.mkdir()
    subscriber = Peer("--record", str(record))
    with tempfile.TemporaryDirectory(prefix="eaves-") as short:
        platform = Platform(Path(short) / "s")
        try:
            subscriber.start()
            platform.start()
            function = LocalFunction(
                name=NAME, site="soak", artifact=artifact.path, artifact_digest=open_artifact(artifact.path).digest
            )
            results = TriggerSpec(
                name="results", filter={"type": IMAGE_CLASSIFIED}, url=subscriber.url, delivery=PATIENCE
            )
            sources = (SourceSpec(name="inbox", options={"path": str(folder)}),)
            platform.harness.deploy(
                LocalApp(function=function, triggers=(default_trigger(NAME), results), sources=sources)
            )
            yield Edge(folder=folder, platform=platform, subscriber=subscriber, record=Record(record))
        finally:
            subscriber.kill()
            platform.close()


def play_round(edge: Edge, name: str, images: int, kills: list[str], chance: random.Random) -> None:
    """Send images while processes are killed, and wait until the prediction of each has arrived.

    Args:
        edge: Edge that the round is played on.
        name: Name of the round, first part of the images' names.
        images: How many.
        kills: Kinds of process to kill, in this order, at random moments while images are on their way.
        chance: Random numbers.
    """
    wanted = {f"{name}-{number:05}.png" for number in range(images)}
    pictures = [encode_png(colour) for colour in COLOURS.values()]
    moments = sorted(chance.randrange(images * 9 // 10) for _ in kills)
    pending = list(zip(moments, kills, strict=True))
    sent = arrived = 0
    spare = images // 10
    progress_at = time.monotonic()
    while arrived < images or pending:
        if new := edge.collect():
            arrived, progress_at = arrived + new, time.monotonic()
        assert time.monotonic() - progress_at < STUCK_S, report_stuck(edge, wanted)
        while sent < min(images - (spare if pending else 0), arrived + images // AHEAD):
            edge.write(f"{name}-{sent:05}.png", pictures[sent % len(pictures)])
            sent += 1
        time.sleep(chance.uniform(0, 0.1))
        if pending and arrived >= pending[0][0]:
            if edge.kill(pending[0][1], rest_s=chance.uniform(0, 1)):
                pending.pop(0)
            else:
                spare = max(0, spare - 1)  # a function starts only when there is something to predict
    assert wanted <= edge.ids.keys()
    for image in wanted:
        (edge.folder / image).unlink()


def report_stuck(edge: Edge, wanted: set[str]) -> str:
    missing = sorted(wanted - edge.ids.keys())
    status = edge.platform.harness.platform.status()
    return f"{len(missing)} images don't arrive, {missing[:5]} among them; kills {dict(edge.kills)}; {status}"


def check(edge: Edge, rounds: int, images: int) -> None:
    """Every image has a prediction, under one id that no other image has."""
    edge.collect()
    assert len(edge.ids) == rounds * images
    ids = [event_id for found in edge.ids.values() for event_id in found]
    assert len(ids) == len(set(ids)) == rounds * images


def run_rounds(root: Path, rounds: int, images: int, kills: int, seed: int) -> Edge:
    """Play rounds and check what arrived; a line a round goes into `root`/progress.txt.

    Args:
        root: An empty folder.
        rounds: How many.
        images: Number of images in each round.
        kills: Kills of each kind in each round.
        seed: Seed of the random numbers.
    """
    chance = random.Random(seed)
    with running_edge(root) as edge, (root / "progress.txt").open("w", buffering=1) as progress:
        for number in range(1, rounds + 1):
            began, order = time.monotonic(), list(KINDS) * kills
            chance.shuffle(order)
            play_round(edge, f"r{number:02}", images, order, chance)
            check(edge, number, images)
            repeats = edge.predictions - number * images
            took_s = time.monotonic() - began
            progress.write(f"round {number}: {took_s:.0f} s, kills {dict(edge.kills)}, {repeats} repeats so far\n")
        (status,) = edge.platform.harness.platform.status()
        assert status.dead == 0
    return edge


@pytest.mark.long("four kills under load")
@pytest.mark.timeout(300)
def test_a_round_of_150_images(tmp_path: Path):
    edge = run_rounds(tmp_path, rounds=1, images=150, kills=1, seed=0)
    assert edge.kills == dict.fromkeys(KINDS, 1)


@pytest.mark.long("160 kills under load")
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_twenty_rounds_of_5000_images(tmp_path: Path):
    edge = run_rounds(tmp_path, rounds=20, images=5_000, kills=2, seed=1)
    assert edge.kills == dict.fromkeys(KINDS, 40)
