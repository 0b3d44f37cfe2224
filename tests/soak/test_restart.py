"""A platform that starts with 100,000 queued events delivers the first of them within two seconds."""

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import eaves
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.local.broker import lane_of
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import TriggerSpec
from eaves.spool import Spool
from eaves.spool.entry import to_row
from tests.cli import EAVES
from tests.fakes.http.server import Asked, open_server, respond
from tests.waiting import wait_until

QUEUED = 100_000
FIRST_S = 2.0
"""Longest time from the start of the process to its first delivery, seconds, on a machine with nothing else to do."""
ATTEMPTS = 5
"""Starts of which the fastest counts: what else a machine does only ever makes a start slower."""
NAME, LANE = "colours", lane_of("colours", "results")
IMPORT = "import eaves.cli.commands.up, eaves.local.supervisor"
"""What `eaves up` imports before it does anything."""

_log = logging.getLogger(__name__)


def fill(path: Path, lane: str) -> None:
    """Write a spool with `QUEUED` events of half a kilobyte, in one transaction."""

    def store(db: sqlite3.Connection) -> None:
        now = time.time()
        rows = [(number, *to_row(prediction(number)), now) for number in range(1, QUEUED + 1)]
        columns = "eid, source, id, attributes, data, crc, size_bytes, put_at"
        sql = f"INSERT INTO events({columns}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
        db.executemany(sql, rows)
        db.executemany("INSERT INTO deliveries(lane, eid) VALUES(?, ?)", [(lane, row[0]) for row in rows])

    with Spool(path) as spool:
        spool.database().commit(store)
        assert spool.depth(lane) == QUEUED


def prediction(number: int) -> Event:
    return Event(
        id=f"prediction-{number}",
        source="/eaves/soak/colours",
        type=IMAGE_CLASSIFIED,
        subject=f"{number:06}.png",
        datacontenttype="application/json",
        data=json.dumps({"predictions": [], "room": "x" * 300}).encode(),
    )


def environ() -> dict[str, str]:
    """A child's environment: it finds the project wherever it is."""
    return {**os.environ, "PYTHONPATH": str(Path(eaves.__file__).parents[1])}


def fastest(start: Callable[[], float]) -> float:
    """The shortest of some starts, seconds; stops at the first that is short enough."""
    taken: list[float] = []
    while len(taken) < ATTEMPTS and min(taken, default=FIRST_S) >= FIRST_S:
        taken.append(start())
    return min(taken)


@pytest.fixture(scope="module")
def state() -> Iterator[StateDirectory]:
    """A state directory whose queue is full of predictions."""
    with tempfile.TemporaryDirectory(prefix="eaves-") as short:
        made = StateDirectory(root=Path(short) / "s")
        made.prepare()
        fill(made.spool, LANE)
        yield made


@pytest.mark.timeout(300)
@pytest.mark.long("a platform starts with 100,000 events")
def test_a_platform_with_100000_events_delivers_its_first_in_two_seconds(state: StateDirectory):
    arrivals: list[float] = []

    def take(_: Asked) -> bytes:
        arrivals.append(time.monotonic())
        return respond(202)

    with open_server(take) as server:
        function = LocalFunction(name=NAME, site="soak", artifact=Path("/no/artifact"))
        results = TriggerSpec(name="results", filter={"type": IMAGE_CLASSIFIED}, url=f"{server.url}/")
        state.write_spec(LocalApp(function=function, triggers=(results,)))

        def start() -> float:
            arrivals.clear()
            began = time.monotonic()
            command = [*EAVES, "up", "--port", "0", "--state", str(state.root)]
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ()
            ) as process:
                try:
                    wait_until(lambda: arrivals, 60, pause_s=0.001, what="the first delivery")
                finally:
                    process.kill()
            first_s, imports_began = arrivals[0] - began, time.monotonic()
            subprocess.run([sys.executable, "-P", "-c", IMPORT], check=True, env=environ())
            imports_s = time.monotonic() - imports_began
            _log.info("eaves up: first delivery after %.2f s; its imports alone take %.2f s", first_s, imports_s)
            return first_s

        assert fastest(start) < FIRST_S
