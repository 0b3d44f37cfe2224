"""Builds the two setups that the experiment compares, each a set of real processes on its own network.

A setup is called an arm in this code, as in a clinical trial.

edge        agent > function > relay > [link] > receiver: predicts at the edge, and forwards results over the link
cloud-only  agent > [link] > receiver > function; the prediction returns over the link to a collector at the edge
"""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.link.network import Network, Side
from bench.link.processes import Part
from bench.processes import environment
from eaves.artifact import open_artifact
from tests.inputs.certificates import make_certificate
from tests.ports import find_ports

SITE = "edge"
FUNCTION = "flowers"
PYTHON = (sys.executable, "-P", "-m")


@dataclass(slots=True)
class Camera:
    """Simulated camera that writes photos at fixed times, whether or not earlier ones were processed.

    Attributes:
        inbox: Directory that the agent watches; the photos are written into it.
        photos: Content of the photos, used one after the other and then again from the first.
        taken: File name of each photo, and the time when it was complete in the directory, Unix seconds.
        sizes: File name of each photo, and its size in bytes.
    """

    inbox: Path
    photos: Sequence[bytes]
    taken: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def run(self, start: float, seconds: float, stop: threading.Event) -> None:
        """Write a photo each second from `start` (`time.monotonic`) on, for some seconds or until `stop` is set."""
        for number, photo in enumerate(itertools.cycle(self.photos)):
            due = start + number
            if due >= start + seconds or stop.wait(max(0.0, due - time.monotonic())):
                return
            self.take(f"photo-{number:06d}", photo)

    def take(self, stem: str, photo: bytes) -> str:
        """Write one JPEG into the directory, atomically, and return the name of its file."""
        name = f"{stem}.jpg"
        hidden = self.inbox / f".{name}"
        hidden.write_bytes(photo)
        self.sizes[name] = len(photo)
        self.taken[name] = time.time()
        hidden.rename(self.inbox / name)
        return name


@dataclass(slots=True)
class Arm:
    """One of the two setups that the experiment compares: the edge setup or the cloud-only setup.

    Attributes:
        name: Name of the setup: `edge`, or `cloud` for cloud-only.
        folder: Directory of all files that the setup writes.
        network: Network of the setup, with its link.
        camera: Simulated camera that writes the photos.
        parts: Processes by their role, such as `agent`, in the order of their start.
        killed: Roles of the processes that are killed at random.
        artifact_digest: Digest of the artifact that the function serves.
        waiting: Predictions that were seen in the agent's spool: the id of each, and the time when it was stored, Unix
            seconds.
    """

    name: str
    folder: Path
    network: Network
    camera: Camera
    parts: dict[str, Part]
    killed: tuple[str, ...]
    artifact_digest: str
    waiting: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Start all processes of this setup, and wait until each listens on its port."""
        for part in self.parts.values():
            part.start()
            part.wait_ready()

    def stop(self) -> None:
        """Stop all processes of this setup; its network is not removed."""
        for part in reversed(self.parts.values()):
            with part.lock:
                part.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """Settings that all processes of one setup (edge or cloud-only) share."""

    folder: Path
    network: Network
    artifact: Path
    digest: str
    credentials: Path
    """Folder with the folders `edge` (relay and agent), `cloud` (receiver) and `sites` (tokens of sites)."""

    def part(self, side: Side, name: str, module: str, port: int, *arguments: str, **environ: str) -> Part:
        command = [*self.network.command(side), *PYTHON, module, *arguments]
        log = self.folder / f"{name}.log"
        return Part(name=name, command=command, environ={**environment(), **environ}, log=log, port=port)

    def function(self, side: Side, port: int) -> Part:
        return self.part(
            side,
            "function",
            "functions",
            port,
            EAVES_ARTIFACT=str(self.artifact),
            EAVES_FUNCTION=FUNCTION,
            EAVES_SITE=SITE,
            EAVES_HOST="127.0.0.1",
            EAVES_CONCURRENCY="1",
            OPENBLAS_NUM_THREADS="1",
            PORT=str(port),
        )

    def agent(self, inbox: Path, health_port: int, sink: str, function: str, **environ: str) -> Part:
        source = {"name": "camera", "kind": "folder", "path": str(inbox)}
        return self.part(
            "edge",
            "agent",
            "eaves.sources",
            health_port,
            EAVES_SOURCES=json.dumps([source]),
            EAVES_SITE=SITE,
            EAVES_SPOOL=str(self.folder / "agent.db"),
            EAVES_PORT=str(health_port),
            EAVES_FUNCTION_URL=function,
            K_SINK=sink,
            **environ,
        )

    def receiver(self, port: int, **environ: str) -> Part:
        return self.part(
            "cloud",
            "receiver",
            "eaves.link.receiver",
            port,
            EAVES_HOST=self.network.cloud_host,
            PORT=str(port),
            EAVES_CREDENTIALS=str(self.credentials / "cloud"),
            EAVES_SITES=str(self.credentials / "sites"),
            EAVES_SPOOL=str(self.folder / "receiver.db"),
            EAVES_FOLDER=str(self.folder / "received"),
            **environ,
        )

    def relay(self, port: int, health_port: int, receiver_port: int) -> Part:
        return self.part(
            "edge",
            "relay",
            "eaves.link.relay",
            port,
            EAVES_TO=f"https://{self.network.cloud_host}:{self.network.reach(receiver_port)}",
            EAVES_CREDENTIALS=str(self.credentials / "edge"),
            EAVES_SITE=SITE,
            EAVES_SPOOL=str(self.folder / "relay.db"),
            EAVES_HOST="127.0.0.1",
            EAVES_HEALTH_PORT=str(health_port),
            PORT=str(port),
        )


def build_edge(folder: Path, network: Network, artifact: Path, photos: Sequence[bytes]) -> Arm:
    """Build the setup that predicts at the edge; its processes are not started yet."""
    site, camera = _prepare(folder, network, artifact, photos)
    function, relay, health, agent, receiver = find_ports(5)
    parts = {
        "receiver": site.receiver(receiver),
        "function": site.function("edge", function),
        "relay": site.relay(relay, health, receiver),
        "agent": site.agent(camera.inbox, agent, f"http://127.0.0.1:{relay}/", f"http://127.0.0.1:{function}/"),
    }
    killed = ("agent", "function", "relay", "receiver")
    return Arm("edge", folder, network, camera, parts, killed, site.digest)


def build_cloud(folder: Path, network: Network, artifact: Path, photos: Sequence[bytes]) -> Arm:
    """Build the setup that predicts in the cloud; its processes are not started yet."""
    site, camera = _prepare(folder, network, artifact, photos)
    function, desk, agent, receiver = find_ports(4)
    url = f"https://{network.cloud_host}:{network.reach(receiver)}/v1/functions/{FUNCTION}"
    functions = json.dumps({FUNCTION: f"http://127.0.0.1:{function}/"})
    parts = {
        "function": site.function("cloud", function),
        "receiver": site.receiver(receiver, EAVES_FUNCTIONS=functions),
        "desk": site.part("edge", "desk", "bench.link.collector", desk, str(desk), str(folder / "desk.tsv")),
        "agent": site.agent(
            camera.inbox,
            agent,
            f"http://127.0.0.1:{desk}/",
            url,
            EAVES_FUNCTION_CREDENTIALS=str(site.credentials / "edge"),
        ),
    }
    return Arm("cloud", folder, network, camera, parts, ("agent", "function", "receiver"), site.digest)


def _prepare(folder: Path, network: Network, artifact: Path, photos: Sequence[bytes]) -> tuple[_Site, Camera]:
    inbox = folder / "inbox"
    inbox.mkdir(parents=True)
    credentials = _make_credentials(folder / "credentials", network.cloud_host)
    digest = open_artifact(artifact).digest
    site = _Site(folder=folder, network=network, artifact=artifact.resolve(), digest=digest, credentials=credentials)
    return site, Camera(inbox=inbox, photos=photos)


def _make_credentials(folder: Path, host: str) -> Path:
    """Write the receiver's certificate and the token of the site, and return the folder."""
    for name in ("edge", "cloud", "sites"):
        (folder / name).mkdir(parents=True)
    token = secrets.token_urlsafe(32)
    for path in (folder / "edge/token", folder / "sites" / SITE):
        path.write_text(token + "\n")
        path.chmod(0o600)
    certificate, key = make_certificate(folder / "made", host)
    shutil.copy(certificate, folder / "edge/ca.crt")
    shutil.copy(certificate, folder / "cloud/tls.crt")
    shutil.move(key, folder / "cloud/tls.key")
    (folder / "cloud/tls.key").chmod(0o600)
    return folder
