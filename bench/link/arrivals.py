"""Finds when each photo's prediction arrived at the edge and in the cloud, by the ids of the events."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.link import collector
from bench.link.arms import FUNCTION, SITE, Arm
from eaves.events import Event, event_id, reply_id, source_uri
from eaves.sources.files import position

POLL_S = 0.2
PREDICTIONS = source_uri(SITE, FUNCTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Predictions of one setup (edge or cloud-only) that have arrived so far.

    Attributes:
        at_edge: Name of each photo, and the time when its prediction was first stored on disk at the edge, Unix
            seconds.
        in_cloud: Name of each photo, and the time when its prediction was first stored on disk in the cloud, Unix
            seconds; empty for the cloud-only setup.
        last: Name of each photo, and the time when its prediction arrived at its destination: the cloud in the edge
            setup, the edge in the cloud-only setup.
        repeated: Number of repeated arrivals at the destination.
        unknown: Number of events that arrived at the destination and belong to no photo.
    """

    at_edge: dict[str, float]
    in_cloud: dict[str, float] = field(default_factory=dict)
    last: dict[str, float]
    repeated: int
    unknown: int


class AgentWatcher:
    """Thread that records the predictions in an agent's spool.

    A prediction in the spool is on disk, even if the relay that should get the prediction has been killed. So the
    prediction counts as arrived at the edge.

    Args:
        path: Path of the agent's spool.
        put_at: Mapping that gets the id of each seen prediction, with the time when it was stored, Unix seconds.
    """

    def __init__(self, path: Path, put_at: dict[str, float]) -> None:
        self._put_at = put_at
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread that reads the spool."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            with suppress(sqlite3.Error), closing(_open(self._path)) as database:
                for key, at in database.execute("SELECT id, put_at FROM events WHERE source = ?", (PREDICTIONS,)):
                    self._put_at.setdefault(key, at)


def read_edge(arm: Arm) -> Arrivals:
    """Return the predictions that arrived in the edge setup, from the ledgers of its relay and its receiver."""
    names = _expected(arm)
    relay, receiver = _ledger(arm.folder / "relay.db"), _ledger(arm.folder / "receiver.db")
    in_cloud = {names[key]: at for key, (at, _) in receiver.items() if key in names}
    return Arrivals(
        at_edge=_earliest(names, arm.waiting, {key: at for key, (at, _) in relay.items()}),
        in_cloud=in_cloud,
        last=in_cloud,
        repeated=sum(repeats for _, repeats in receiver.values()),
        unknown=sum(key not in names for key in receiver),
    )


def read_cloud(arm: Arm) -> Arrivals:
    """Return the predictions that arrived in the cloud-only setup: those that returned to the edge."""
    lines = collector.read(arm.folder / "desk.tsv")
    desk: dict[str, float] = {}
    for at, key in lines:
        desk.setdefault(key, at)
    names = _expected(arm)
    last = _earliest(names, desk)
    times = Counter(key for _, key in lines)
    return Arrivals(
        at_edge=_earliest(names, arm.waiting, desk),
        last=last,
        repeated=sum(times.values()) - len(times),
        unknown=sum(key not in names for key in desk),
    )


def _earliest(names: Mapping[str, str], *seen: Mapping[str, float]) -> dict[str, float]:
    """Return the earliest time at which each photo's prediction was seen, by the photo's name.

    `names` has the photo's name for each id of a prediction; each of `seen` has times by the id of a prediction.
    """
    found: dict[str, float] = {}
    for key, at in (pair for one in seen for pair in list(one.items())):
        if key in names:
            found[names[key]] = min(at, found.get(names[key], at))
    return found


def _expected(arm: Arm) -> dict[str, str]:
    """Return the name of each photo by the id that its prediction must have."""
    source, found = source_uri(SITE, "camera"), {}
    for name in arm.camera.sizes:
        status = (arm.camera.inbox / name).stat()
        place = position(name, mtime_ns=status.st_mtime_ns, size_bytes=status.st_size)
        cause = Event(id=event_id(source, place), source=source, type="cause")
        found[reply_id(cause, arm.artifact_digest)] = name
    return found


def _ledger(path: Path) -> dict[str, tuple[float, int]]:
    """Return the events in a spool's ledger: id to the time when it was first stored, and its number of repeats."""
    if not path.exists():
        return {}
    with closing(_open(path)) as database:
        rows = database.execute("SELECT id, taken_at, repeats FROM ledger").fetchall()
    return {key: (at, repeats) for key, at, repeats in rows}


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
