"""Measures an update of the model over a bad link that is cut several times, while the function continues to serve."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.link.arms import FUNCTION, SITE
from bench.link.network import Network, open_network
from bench.link.parts.processes import Part, build_environ
from bench.link.proxy import Link
from eaves.artifact import open_artifact
from eaves.oci.copy import copy_image
from eaves.oci.package import Base, package
from eaves.oci.registry.transport import Access
from eaves.oci.store.layout import Layout, create_layout
from tests.container_images.packaging import build_base, this_platform
from tests.ports import find_port

LINK = Link(delay_ms=50, mbit_s=1, loss=0.05)
CUTS = ((1.0, 5.0), (30.0, 5.0), (60.0, 20.0), (120.0, 60.0))
"""Pairs of seconds: when the link is cut, from the start of the update, and for how long. The sequence is repeated
every `ROUND_S` seconds."""
ROUND_S = 240.0
LIMIT_S = 1800.0
"""Seconds after which a pull that isn't complete is stopped and counts as failed."""
ACCESS = Access(plain_http=True, config=Path("/nonexistent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An update of the model on a node, from one artifact to another.

    Attributes:
        name: Name of the update in the results.
        text: Description of the update in the tables.
        old: Directory of the artifact that the node has already.
        new: Directory of the artifact that the node pulls.
    """

    name: str
    text: str
    old: Path
    new: Path


def run(update: Update, folder: Path, *, photo: bytes, kind: str = "") -> dict[str, Any]:
    """Pull the update over the bad link, measure it, and return the result.

    Args:
        update: The update to measure.
        folder: Directory of all files; it is emptied first.
        photo: Photo that is sent to the function every second.
        kind: Kind of the network, `packets` or `proxy`; empty: packets if this user may create them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder = folder.resolve()
    network = open_network("lxu", kind=kind)
    try:
        with _registry(network, folder) as port:
            host = f"{network.cloud_host}:{port}"
            store = _publish(network, host, update, folder)
            function = _function(network, update.old, folder)
            function.start()
            try:
                function.wait_ready()
                return _measure(update, network, function, host, store, photo)
            finally:
                function.end()
    finally:
        network.close()


def _measure(
    update: Update,
    network: Network,
    function: Part,
    host: str,
    store: Path,
    photo: bytes,
) -> dict[str, Any]:
    network.set_link(LINK)
    before, stop = network.traffic(), threading.Event()
    asked: list[tuple[float, float | None]] = []
    command = [*network.command("edge"), sys.executable, "-m", "bench.link.parts.pull"]
    began = time.time()
    pull = subprocess.Popen(
        [*command, f"{host}/{FUNCTION}:new", str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env=build_environ(),
    )
    cuts: list[tuple[float, float]] = []
    threads = [
        threading.Thread(target=_ask, args=(network, function, photo, began, asked, stop)),
        threading.Thread(target=_cut, args=(network, began, cuts, stop)),
    ]
    ending = threading.Timer(LIMIT_S, pull.kill)
    for thread in (*threads, ending):
        thread.start()
    assert pull.stdout is not None
    try:
        lines = [json.loads(line) for line in pull.stdout]
    finally:
        ending.cancel()
        stop.set()
        pull.kill()
        pull.wait()
        for thread in threads:
            thread.join()
    after = network.traffic()
    if not lines:
        raise RuntimeError("the pull reported no result")
    return {
        "update": update.name,
        "text": update.text,
        "kind": network.kind,
        "link": {"delay_ms": LINK.delay_ms, "mbit_s": LINK.mbit_s, "loss": LINK.loss},
        "cuts": cuts,
        "done": lines[-1]["event"] == "done",
        "seconds": lines[-1]["t"] - began,
        "layer_bytes": lines[-1].get("moved", 0),
        "wire_bytes": after.bytes_up + after.bytes_down - before.bytes_up - before.bytes_down,
        "failed": [(one["t"] - began, one["reason"]) for one in lines if one["event"] == "failed"],
        "waited": [(one["t"] - began, one["text"]) for one in lines if one["event"] == "waiting"],
        "progress": _thin([(one["t"] - began, one["bytes"]) for one in lines]),
        "asked": asked,
    }


def _thin(points: Sequence[tuple[float, int]], every_s: float = 0.5) -> list[tuple[float, int]]:
    """Return fewer of the points (seconds, bytes), for drawing.

    The result has points that are at least `every_s` seconds apart, the points at which the number of bytes falls, and
    the last point.
    """
    kept: list[tuple[float, int]] = []
    for number, (at, count) in enumerate(points):
        last = number == len(points) - 1
        if not kept or last or count < kept[-1][1] or at - kept[-1][0] >= every_s:
            kept.append((round(at, 2), count))
    return kept


def _cut(network: Network, began: float, cuts: list[tuple[float, float]], stop: threading.Event) -> None:
    turn = 0
    while True:
        for at, length in CUTS:
            if stop.wait(max(0.0, began + turn * ROUND_S + at - time.time())):
                return
            cuts.append((round(time.time() - began, 2), length))
            network.reset()
            network.set_state("down")
            stop.wait(length)
            network.set_state("up")
        turn += 1


def _ask(
    network: Network,
    function: Part,
    photo: bytes,
    began: float,
    asked: list[tuple[float, float | None]],
    stop: threading.Event,
) -> None:
    """Request a prediction from the function once a second until `stop` is set, and append the results to `asked`.

    Each result has the seconds since `began` and the seconds until the prediction; None when there was none.
    """
    command = [*network.command("edge"), sys.executable, "-m", "bench.link.parts.ask", str(function.port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=build_environ())
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(photo.hex() + "\n")
    process.stdin.flush()
    number = 0
    while not stop.wait(max(0.0, began + number - time.time())):
        at = time.time() - began
        process.stdin.write("\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        asked.append((round(at, 2), answer))
        number = int(time.time() - began) + 1
    process.stdin.close()
    process.wait()


@contextmanager
def _registry(network: Network, folder: Path) -> Iterator[int]:
    """Run a registry (Debian's docker-registry) in the cloud during the `with` block; yield the port for the edge."""
    port = find_port()
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": f"{network.cloud_host}:{port}"},
    }
    file = folder / "registry.yaml"
    file.write_text(yaml.safe_dump(settings))
    part = Part(
        name="registry",
        command=[*network.command("cloud"), "docker-registry", "serve", str(file)],
        environ=build_environ(),
        log=folder / "registry.log",
        port=port,
    )
    part.start()
    try:
        part.wait_ready()
        yield network.reach(port)
    finally:
        part.end()


def _function(network: Network, artifact: Path, folder: Path) -> Part:
    port = find_port()
    return Part(
        name="function",
        command=[*network.command("edge"), sys.executable, "-P", "-m", "functions"],
        environ=build_environ(
            EAVES_ARTIFACT=str(artifact.resolve()),
            EAVES_FUNCTION=FUNCTION,
            EAVES_SITE=SITE,
            EAVES_HOST="127.0.0.1",
            EAVES_CONCURRENCY="1",
            ORT_DISABLE_TELEMETRY="1",
            OPENBLAS_NUM_THREADS="1",
            PORT=str(port),
        ),
        log=folder / "function.log",
        port=port,
    )


def _publish(network: Network, host: str, update: Update, folder: Path) -> Path:
    """Push the new container image to the registry, and put the old one into the node's store.

    Returns:
        Path of the node's store.
    """
    base_layout = build_base(folder / "base")
    base = Base(source=base_layout, descriptor=base_layout.resolve("base"), name="")
    cache = create_layout(folder.parent / "oci-cache")
    made: dict[str, Any] = {}
    for name, path in (("old", update.old), ("new", update.new)):
        layout: Layout = create_layout(folder / name)
        artifact = open_artifact(path)
        made[name] = package(artifact, base, layout, cache, platforms=[this_platform()], allow_handler=False)
    store = create_layout(folder / "store")
    copy_image(made["old"].source, store, made["old"].descriptor, name="old")
    whole = create_layout(folder / "whole")
    copy_image(made["new"].source, whole, made["new"].descriptor, name="new")
    command = [*network.command("edge"), sys.executable, "-m", "bench.link.parts.push"]
    subprocess.run([*command, str(folder / "whole"), f"{host}/{FUNCTION}:new"], check=True, env=build_environ())
    return folder / "store"
