"""Which predictions arrived where and when, by the ids of events."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.link.arms import SITE, Arm
from bench.link.parts import collector
from eaves.events import Event, event_id, reply_id, source_uri
from eaves.sources.files import position


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What has arrived so far.

    Attributes:
        at_edge: Photo's name to when its prediction was durable at the edge first, Unix seconds.
        in_cloud: The same in the cloud, where the arm takes it there.
        last: The one of both that ends the way.
        repeated: Predictions that came there again.
        unknown: Predictions that came there and are of no photo.
    """

    at_edge: dict[str, float]
    in_cloud: dict[str, float] = field(default_factory=dict)
    last: dict[str, float]
    repeated: int
    unknown: int


def read_edge(arm: Arm) -> Arrivals:
    """The edge's arm: the ledgers of relay and receiver."""
    names = _expected(arm)
    relay, receiver = _ledger(arm.folder / "relay.db"), _ledger(arm.folder / "receiver.db")
    in_cloud = {names[key]: at for key, (at, _) in receiver.items() if key in names}
    return Arrivals(
        at_edge={names[key]: at for key, (at, _) in relay.items() if key in names},
        in_cloud=in_cloud,
        last=in_cloud,
        repeated=sum(repeats for _, repeats in receiver.values()),
        unknown=sum(key not in names for key in receiver),
    )


def read_cloud(arm: Arm) -> Arrivals:
    """The other one: what came back to the edge."""
    lines = collector.read(arm.folder / "desk.tsv")
    at_edge: dict[str, float] = {}
    for at, subject, _ in lines:
        at_edge.setdefault(subject, at)
    times = Counter(key for _, _, key in lines)
    return Arrivals(
        at_edge=at_edge,
        last=at_edge,
        repeated=sum(times.values()) - len(times),
        unknown=sum(name not in arm.camera.sizes for name in at_edge),
    )


def _expected(arm: Arm) -> dict[str, str]:
    """Id of the prediction of each photo, to the photo's name."""
    source, found = source_uri(SITE, "camera"), {}
    for name in arm.camera.sizes:
        status = (arm.camera.inbox / name).stat()
        place = position(name, mtime_ns=status.st_mtime_ns, size_bytes=status.st_size)
        cause = Event(id=event_id(source, place), source=source, type="cause")
        found[reply_id(cause, arm.artifact_digest)] = name
    return found


def _ledger(path: Path) -> dict[str, tuple[float, int]]:
    """Id to when it was taken first, and how often it came again."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        rows = database.execute("SELECT id, taken_at, repeats FROM ledger").fetchall()
    return {key: (at, repeats) for key, at, repeats in rows}
