"""An idle platform with one app, a function at zero and a folder source, costs next to nothing."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import eaves
from eaves.artifact import open_artifact
from eaves.local.client import LocalPlatform
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import ScaleSettings, SourceSpec, default_trigger
from tests.fakes.http.camera import Asked, open_camera, respond
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.proc import cpu_s
from tests.processes.mosquitto import run_mosquitto
from tests.soak import count_statements
from tests.soak.processes import SOURCE, START_S, Platform
from tests.waiting import wait_until

NAME = "colours"
UP, AGENT = "eaves up", "its agent"
MAX_CORES, MAX_THREADS = 0.02, 15
MAX_STATEMENTS = 5.0
"""SQLite statements a second, of `eaves up` and its agent together."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a platform at rest costs.

    Attributes:
        cores: Share of one CPU core, 0 to 1, by process.
        threads: Threads by process.
        statements: SQLite statements a second, by process.
    """

    cores: dict[str, float]
    threads: dict[str, int]
    statements: dict[str, float]


def measure(root: Path, window_s: float, beside: Sequence[Mapping[str, Any]]) -> Cost:
    """Start platforms, let them predict one image and come to rest, and measure them for `window_s` seconds.

    Args:
        root: An empty folder.
        window_s: Length of the measurement, seconds.
        beside: Sources beside a folder.
    """
    artifact = write_graph_artifact(root / "artifact").path
    with ExitStack() as opened:
        pids = opened.enter_context(resting_platform(root / "plain", artifact, beside))
        records = opened.enter_context(traced_platform(root / "traced", artifact, beside))
        began, cpu_began = time.monotonic(), {name: cpu_s(pid) for name, pid in pids.items()}
        wait_until(lambda: time.monotonic() >= began + window_s, window_s + 10, pause_s=0.5, what="the window's end")
        took_s = time.monotonic() - began
        cost = Cost(
            cores={name: (cpu_s(pid) - cpu_began[name]) / took_s for name, pid in pids.items()},
            threads={name: len(list(Path(f"/proc/{pid}/task").iterdir())) for name, pid in pids.items()},
            statements={
                name: count_between(record, began, began + took_s) / took_s for name, record in records.items()
            },
        )
    _log.info("idle for %.0f s: %s", took_s, cost)
    return cost


@contextmanager
def resting_platform(root: Path, artifact: Path, beside: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, int]]:
    """A real platform at rest; gives the process ids of `eaves up` and its agent."""
    with tempfile.TemporaryDirectory(prefix="eaves-") as short:
        platform = Platform(Path(short) / "s")
        try:
            write_app(StateDirectory(root=platform.harness.state), root, artifact, beside)
            platform.start()
            come_to_rest(platform.harness.platform, root)
            wait_until(lambda: {child.module for child in platform.children()} == {SOURCE}, START_S, what="no function")
            pids = {child.module: child.pid for child in platform.children()}
            yield {UP: platform.harness.pid, AGENT: pids[SOURCE]}
        finally:
            platform.close()


@contextmanager
def traced_platform(root: Path, artifact: Path, beside: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Path]]:
    """A platform at rest, and an agent of which nobody wants anything; gives the records of their SQLite statements."""
    records = {UP: root / "up.statements", AGENT: root / "agent.statements"}
    with tempfile.TemporaryDirectory(prefix="eaves-") as short, ExitStack() as opened:
        state = StateDirectory(root=Path(short) / "s")
        write_app(state, root, artifact, ())
        opened.enter_context(traced(records[UP], "eaves.cli", "up", "--port", "0", "--state", str(state.root)))
        wait_until(LocalPlatform(state.root).running, START_S, what="eaves up")
        (root / "empty").mkdir()
        agent = {
            "EAVES_SOURCES": json.dumps([{"name": "inbox", "path": str(root / "empty")}, *map(as_traced, beside)]),
            "EAVES_SPOOL": str(root / "agent.db"),
            "K_SINK": "http://127.0.0.1:9/",
        }
        opened.enter_context(traced(records[AGENT], SOURCE, **agent))
        come_to_rest(LocalPlatform(state.root), root)
        wait_until(lambda: records[AGENT].exists() and records[AGENT].stat().st_size > 0, START_S, what="an agent")
        yield records


@contextmanager
def traced(record: Path, module: str, *arguments: str, **environ: str) -> Iterator[None]:
    command = [sys.executable, "-P", count_statements.__file__, str(record), module, *arguments]
    path = {"PYTHONPATH": str(Path(eaves.__file__).parents[1])}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **path, **environ}
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            finally:
                process.kill()


def as_traced(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source as a second agent runs it; a broker knows it by another name."""
    return {**source, **({"client_id": "traced"} if source["kind"] == "mqtt" else {})}


def write_app(state: StateDirectory, root: Path, artifact: Path, beside: Sequence[Mapping[str, Any]]) -> None:
    """Want one app: a function that stops when it is idle, a folder, and the sources beside it."""
    (root / "images").mkdir(parents=True)
    function = LocalFunction(
        name=NAME,
        site="soak",
        artifact=artifact,
        artifact_digest=open_artifact(artifact).digest,
        scale=ScaleSettings(idle_s=0.5),
    )
    more = (
        SourceSpec(
            name=one["name"],
            kind=one["kind"],
            options={key: value for key, value in one.items() if key not in ("name", "kind")},
        )
        for one in beside
    )
    sources = (SourceSpec(name="inbox", options={"path": str(root / "images")}), *more)
    state.write_spec(LocalApp(function=function, triggers=(default_trigger(NAME),), sources=sources))


def come_to_rest(platform: LocalPlatform, root: Path) -> None:
    """Have one image predicted, and wait until nothing is left to do."""
    (root / "images" / "one.png").write_bytes(encode_png(COLOURS["red"]))

    def rests() -> bool:
        (status,) = platform.status()
        return status.delivered > 0 and not status.queued and status.state == "idle"

    wait_until(rests, START_S, pause_s=0.2, what="a platform at rest")


def count_between(record: Path, begin: float, end: float) -> int:
    """Statements of a record within a window of monotonic seconds."""
    moments = [float(line.split(" ", 1)[0]) for line in record.read_text().splitlines()]
    return sum(begin <= moment < end for moment in moments)


@contextmanager
def quiet_sources(root: Path) -> Iterator[list[dict[str, Any]]]:
    """A broker that says nothing, and a camera whose picture never changes."""
    snapshot = respond(200, encode_png(COLOURS["green"]), Content_Type="image/png", ETag='"1"')
    unchanged = respond(304, ETag='"1"')

    def answer(asked: Asked) -> bytes:
        return unchanged if "if-none-match" in asked.headers else snapshot

    with run_mosquitto(root / "broker") as broker, open_camera(answer) as camera:
        yield [
            {"name": "gate", "kind": "mqtt", "url": broker.url, "topics": ["gate/#"]},
            {"name": "hall", "kind": "http", "url": f"{camera.url}/snap.png", "every_s": 5},
        ]


@pytest.mark.long("ten seconds are measured")
@pytest.mark.timeout(300)
def test_three_sources_idle_for_ten_seconds(tmp_path: Path):
    with quiet_sources(tmp_path) as beside:
        cost = measure(tmp_path, 10, beside)
    assert 0 < sum(cost.cores.values()) < MAX_CORES
    assert max(cost.threads.values()) <= MAX_THREADS
    assert 0 < sum(cost.statements.values()) <= MAX_STATEMENTS
