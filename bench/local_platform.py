"""Benchmark of the local platform: what its activator and its broker add, how much they carry, and its load at rest.

The platform is `eaves up`, in a process of its own, with a function that has a tiny model. Events for the broker have a
type of their own, and a trigger sends them to a server that answers 202 at once. All is done by commands and over
HTTP, so that `bench.compare` can measure another checkout in the same way.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.material import FOLDER, Setup
from bench.measure import Sink, accept_events, build_request, send_all
from bench.processes import (
    ROOT,
    Message,
    cpu_ms,
    environment,
    function_command,
    function_environment,
    memory_mb,
    python,
    started,
    tree,
    wait_for_answer,
    wait_until,
)
from bench.report import Figure, Section
from tests.fakes.models.graph import write_graph_artifact
from tests.ports import find_port

APP = "bench"
TYPE = "dev.eaves.dataset.updated.v1"
"""Type of the events that the platform sends to the sink, which no function gets."""
IMAGE_BYTES, SMALL_BYTES = 100_000, 1_000
ADDED_MS, RATE, IDLE_PERCENT = 5.0, 300.0, 1.0
"""Bars: milliseconds that activator and broker may add, events per second, and percent of a core at rest."""
CONNECTIONS = 16
PAUSE_S = 0.01
"""Seconds after each request, so that work that it still causes doesn't slow down the next one."""
SETTLE_S = 5.0
"""Seconds from the last prediction until a platform is at rest: its replica has stopped, unless it must run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A local platform that runs: the id of `eaves up`, the port of its broker, and its project's folder."""

    pid: int
    port: int
    folder: Path

    def predict(self, image: bytes) -> bytes:
        """Return the answer of its function to an image, through the activator; the function starts if it must."""
        return wait_for_answer(lambda: None, self.port, Message(path=f"/functions/{APP}", body=image))


@contextmanager
def run_platform(
    artifact: Path,
    *,
    sink: str = "http://127.0.0.1:9/",
    root: Path = ROOT,
    replicas: int = 0,
    idle_s: float = 3600,
    below: Path = FOLDER,
) -> Iterator[Platform]:
    """Deploy a function, and run `eaves up` of a checkout until the `with` block ends.

    Args:
        artifact: Artifact of the function.
        sink: Address that gets the events of type `TYPE`.
        root: Checkout.
        replicas: Minimum number of replicas.
        idle_s: Seconds without a request after which a further replica stops.
        below: Folder below which the project's folder is made, so that the disk of that folder is measured.
    """
    below.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="up-", dir=below) as name:
        folder, port = Path(name), find_port()
        (folder / "inbox").mkdir()
        settings = {
            "name": APP,
            "scale": {"min": replicas, "idle_s": idle_s},
            "sources": [{"name": "inbox", "kind": "folder", "path": str(folder / "inbox")}],
            "triggers": [{"name": "sink", "filter": {"type": TYPE}, "url": sink}],
        }
        (folder / "eaves.yaml").write_text(json.dumps(settings))
        command = [python(root), "-P", "-m", "eaves.cli"]
        environ = environment(root, EAVES_UP_CONSOLE_PORT="0")
        deploy = [*command, "deploy", str(artifact.absolute())]
        subprocess.run(deploy, check=True, env=environ, cwd=folder, capture_output=True)
        up = [*command, "up", "--quiet", "--port", str(port)]
        with started(up, environ, folder) as process:
            wait_for_answer(process.poll, port, Message(path=f"/functions/{APP}", body=build_image(SMALL_BYTES)))
            yield Platform(pid=process.pid, port=port, folder=folder)


def build_image(size_bytes: int) -> bytes:
    """Return a JPEG of about this many bytes."""
    side = max(8, int((size_bytes / 1.2) ** 0.5))
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with tempfile.TemporaryFile() as stream:
        Image.fromarray(pixels).save(stream, "JPEG", quality=75)
        stream.seek(0)
        return stream.read()


def build_event(number: int | str, body: bytes) -> bytes:
    """Return a request with an event for the sink."""
    fields = {"ce_specversion": "1.0", "ce_id": str(number), "ce_source": "/eaves/bench/camera", "ce_type": TYPE}
    return build_request(body, **fields)


def measure(setup: Setup) -> Section:
    """Measure all parts."""
    with tempfile.TemporaryDirectory() as folder, accept_events() as sink:
        artifact = write_graph_artifact(Path(folder) / "artifact").path
        with run_platform(artifact, sink=sink.url) as platform:
            figures = list(measure_latency(platform, sink, artifact, 60 if setup.is_quick else 600))
            figures += measure_rates(platform, sink, 300 if setup.is_quick else 3_000)
        figures += measure_rest(artifact, 10 if setup.is_quick else 30)
    return Section(figures=tuple(figures))


def measure_latency(platform: Platform, sink: Sink, artifact: Path, rounds: int) -> Iterator[Figure]:
    """Send one request at a time in turn: to a function directly, through the activator, to the broker, to the disk."""
    image, port = build_image(IMAGE_BYTES), find_port()
    body = os.urandom(IMAGE_BYTES)
    found: dict[str, list[float]] = {name: [] for name in ("direct", "activator", "broker", "delivered", "disk")}
    with (
        started(function_command(), function_environment(artifact, port)) as process,
        tempfile.TemporaryFile(dir=platform.folder, buffering=0) as file,
    ):
        wait_for_answer(process.poll, port, Message(body=image))
        for number in range(rounds):
            found["direct"] += send_all(port, [build_request(image)]).latencies_ms
            time.sleep(PAUSE_S)
            path = f"/functions/{APP}"
            found["activator"] += send_all(platform.port, [build_request(image, path=path)]).latencies_ms
            time.sleep(PAUSE_S)
            answer_ms, delivered_ms = put_event(platform.port, sink, f"one-{number}", body)
            found["broker"].append(answer_ms)
            found["delivered"].append(delivered_ms)
            begun_at = time.monotonic()
            file.write(body)
            os.fdatasync(file.fileno())
            found["disk"].append((time.monotonic() - begun_at) * 1000)
            time.sleep(PAUSE_S)
    p50 = {name: statistics.median(values) for name, values in found.items()}
    yield Figure(
        name="the activator adds to a direct POST, p50 (100 KB)",
        value=p50["activator"] - p50["direct"],
        unit="ms",
        bar=ADDED_MS,
        measured=f"direct POST {p50['direct']:.2f} ms",
    )
    text = f"disk {p50['disk']:.2f} ms"
    for name, what in (("broker", "the broker's 202"), ("delivered", "from the POST until the subscriber has it")):
        figure = f"{what}, p50 (100 KB)"
        yield Figure(name=figure, value=p50[name], unit="ms", bar=ADDED_MS, measured=text)


def put_event(port: int, sink: Sink, name: str, body: bytes) -> tuple[float, float]:
    """Put an event into a broker; return the times until its 202 and until the sink has it, ms."""
    load = send_all(port, [build_event(name, body)])
    wait_until(lambda: name in sink.arrived_at, pause_s=0.001)
    return load.latencies_ms[0], (sink.arrived_at[name] - load.begun_at[0]) * 1000


def measure_rates(platform: Platform, sink: Sink, count: int) -> Iterator[Figure]:
    """Put events as fast as the broker accepts them, until all are delivered."""
    for size_bytes, text in ((IMAGE_BYTES, "100 KB"), (SMALL_BYTES, "1 KB")):
        body, names = os.urandom(size_bytes), [f"{size_bytes}-{number}" for number in range(count)]
        before = cpu_ms(platform.pid, descendants=False)
        load = send_all(platform.port, (build_event(name, body) for name in names), connections=CONNECTIONS)
        wait_until(lambda names=names: sink.arrived_at.keys() >= set(names), pause_s=0.05)  # type: ignore[misc]
        seconds = max(sink.arrived_at[name] for name in names) - min(load.begun_at)
        spent_ms = (cpu_ms(platform.pid, descendants=False) - before) / count
        yield Figure(
            name=f"accepted durably, delivered, acknowledged ({text})",
            value=count / seconds,
            unit="/s",
            bar=RATE,
            is_minimum=True,
            measured=f"accepted {load.per_second:.0f}/s; the platform's CPU time {spent_ms:.2f} ms an event",
        )


def measure_rest(artifact: Path, seconds: float) -> Iterator[Figure]:
    """Measure CPU time, wake-ups and memory of platforms that have nothing to do: without a replica, and with one."""
    with ExitStack() as stack:
        running = {
            count: stack.enter_context(run_platform(artifact, replicas=count, idle_s=0.5)).pid for count in (0, 1)
        }
        time.sleep(SETTLE_S)
        before = {count: (cpu_ms(pid), count_wakeups(pid)) for count, pid in running.items()}
        time.sleep(seconds)
        for count, pid in running.items():
            spent_ms, wakeups = cpu_ms(pid) - before[count][0], count_wakeups(pid) - before[count][1]
            text = f"{wakeups / seconds:.0f} wake-ups a second of all threads; {memory_mb(pid):.0f} MB (PSS)"
            processes = len(list(tree(pid)))
            name = f"at rest for {seconds:g} s, {count} warm replicas, {processes} processes, of a core"
            yield Figure(name=name, value=spent_ms / seconds / 10, unit="%", bar=IDLE_PERCENT, measured=text)


def count_wakeups(pid: int) -> int:
    """Return the number of voluntary context switches so far of all threads of a process and its descendants."""
    tasks = [task for one in tree(pid) for task in Path(f"/proc/{one}/task").iterdir()]
    lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
