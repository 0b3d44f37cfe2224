"""What the local and the slow suite share: how a script of a page runs on this machine."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.container_images.packaging import build_index_base, find_runtime_cache
from tests.container_images.registries import serve_registry
from tests.docs.blocks.camera import serve_snapshots
from tests.docs.blocks.pages import ROOT
from tests.docs.blocks.preparation import CLONE, QUICK, SELECTED, prepare
from tests.docs.blocks.runner import Transcript, build_environ, find_missing, run_script
from tests.docs.blocks.script import Script
from tests.inputs.certificates import make_certificate
from tests.inputs.videos import make_video, need_av
from tests.ports import find_ports
from tests.processes.rtsp_server import run_rtsp_server
from tests.sources.store import KEYS, open_store

SHARED = ROOT.parent / "shared"
SHORT = {"LINKS": "good", "MINUTES": "0.5", "RUNS": "1", "EVENTS": "300", "BACKLOG": "3000"}
"""Sizes of simulations and experiments that would take longer than a test may."""

EXPECTED: dict[str, tuple[str, ...]] = {
    "README.md": (
        r"parity: probabilities of the (int8|fp32) model differ from the trained model's by at most \S+;",
        r"the artifact holds the (int8|fp32) model: int8 \w+",
        r"image\.captured\.v1",
        r"image\.classified\.v1",
        r"accuracy [01]\.\d+ \(.* with 95 % confidence\) on \d+ images",
    ),
    "docs/factory.md": (
        r"accuracy",
        r"image\.classified\.v1",
        r'<p class="label">(daisy|dandelion|roses|sunflowers|tulips)</p>',
        r'"label": ?"',
        r"write it to /etc/systemd/system/eaves-flowers\.service",
    ),
    "examples/display/README.md": (r'<p class="label">scratch &lt;b&gt;</p>',),
    "examples/classify/README.md": (r"photos/2/000.png +2 ", r'"label": "3"'),
    "examples/embed/README.md": (
        r"photos/0/\S+ is like photos/0/",
        r"photos/1/\S+ is like photos/1/",
        r"photos/2/\S+ is like photos/2/",
    ),
    "examples/handler/README.md": (r"frames/blue.raw +cold", r"frames/red.raw +hot +high"),
    "examples/tensor/README.md": (r"accuracy on unseen windows: (1.00|0.9)", r'"label": "(fair|good|poor)"'),
}
"""Texts that the scripts of each page print besides what the page quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What this machine has for a script.

    Attributes:
        values: Variables that pages set in a block marked `values`, with this machine's values.
        environ: Further variables of the reader's environment.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


def run_here(script: Script, tmp_path: Path, factory: pytest.TempPathFactory, *, timeout_s: float) -> Transcript:
    """Run a script in a fresh folder below `tmp_path`, on loopback; an example's in a copy of its folder.

    Without what it needs it is skipped, with the reason.
    """
    if missing := find_missing(script):
        pytest.skip(f"needs {', '.join(missing)}")
    folder, home = tmp_path / "reader", tmp_path / "home"
    home.mkdir()
    before = prepare(folder, [name for name in script.preparations if name not in SERVERS], factory)
    if script.page.startswith("examples/"):
        shutil.copytree((ROOT / script.page).parent, folder, dirs_exist_ok=True)
        shutil.copytree(ROOT / "examples", folder.parent, dirs_exist_ok=True)
    loopback = prepare_loopback()
    with ExitStack() as stack:
        places = [loopback]
        places += [
            stack.enter_context(SERVERS[name](tmp_path, factory)) for name in script.preparations if name in SERVERS
        ]
        environ = {name: value for place in places for name, value in place.environ.items()}
        # a clone has its own code and .venv, which a checkout in PYTHONPATH would hide
        more = SELECTED if CLONE in script.preparations else {**QUICK, **install_into(home)}
        transcript = run_script(
            script,
            folder,
            environ=build_environ(home, **more, **environ),
            values={name: value for place in places for name, value in place.values.items()},
            before=before,
            timeout_s=timeout_s,
        )
    missing = [pattern for pattern in EXPECTED.get(str(script), ()) if not re.search(pattern, transcript.text)]
    assert missing == [], transcript.text[-12_000:]
    return transcript


def install_into(home: Path) -> dict[str, str]:
    """Variables that have `pip install` write into the reader's home and Python import from there."""
    target = str(home / "site-packages")
    return {"PIP_TARGET": target, "PYTHONPATH": f"{ROOT}:{target}"}


def prepare_loopback() -> Place:
    """Free ports of loopback for `eaves up` and for whatever else a page starts, and the files of ../shared."""
    up, console, other = find_ports(3)
    values = {
        "UP": f"http://127.0.0.1:{up}",
        "CONSOLE": f"https://127.0.0.1:{console}",
        "PORT": str(other),
        "EAVES": str(ROOT),
        "LISTEN": f"127.0.0.1:{other}",
        "WEIGHTS": str(SHARED / "weights/inception_v3_notop.weights.h5"),
        "SOURCE": str(ROOT),
        "HOST": "127.0.0.1",
        "AGENT_IMAGE": f"registry.example/team/eaves-agent@sha256:{'a' * 64}",
        **SHORT,
    }
    return Place(values=values, environ={"EAVES_UP_PORT": str(up), "EAVES_UP_CONSOLE_PORT": str(console)})


@contextmanager
def run_camera(tmp_path: Path, factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run a camera with another snapshot for each request."""
    with serve_snapshots() as url:
        yield Place(values={"CAMERA": url})


@contextmanager
def run_stream(tmp_path: Path, factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run a camera with an RTSP stream for the user viewer; without its packages, the test is skipped."""
    need_av()
    mounts = {"/stream1": make_video(size=(640, 360))}
    with run_rtsp_server(tmp_path / "rtsp", mounts, user="viewer", password="correct horse") as server:
        yield Place(values={"CAMERA": server.url("/stream1"), "PASSWORD": "correct horse"})


@contextmanager
def run_store(tmp_path: Path, factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run an object store with an empty bucket `photos`."""
    with open_store() as store:
        store.s3.create_bucket(Bucket="photos")
        keys = {"ACCESS_KEY": KEYS["aws_access_key_id"], "SECRET_KEY": KEYS["aws_secret_access_key"]}
        yield Place(values={"STORE": store.url, **keys})


@contextmanager
def run_registry(tmp_path: Path, factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run a registry on loopback that is trusted, with a base, and a cache that has the runtime's layers."""
    cache = shutil.copytree(find_runtime_cache(factory), tmp_path / "cache")
    base = build_index_base(tmp_path / "base")
    authority, key = make_certificate(tmp_path / "tls")
    with serve_registry(tmp_path / "registry", certificate=(authority, key)) as registry:
        yield Place(
            values={"REPOSITORY": f"{registry.host}/barn/flowers", "BASE": f"oci:{base.path}:base"},
            environ={
                "SSL_CERT_FILE": str(authority),  # read by Eaves and by skopeo
                "XDG_CACHE_HOME": str(cache),
                "DOCKER_CONFIG": str(tmp_path / "no-logins"),
            },
        )


SERVERS = {"registry": run_registry, "camera": run_camera, "stream": run_stream, "store": run_store}
"""Preparations of a page that run a server while its script runs."""
