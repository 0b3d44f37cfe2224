"""Registries for tests: Debian's docker-registry, a real process on loopback."""

import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from eaves.oci.copy import check_content
from eaves.oci.descriptor import Descriptor
from eaves.oci.layers.image import Image, build_image, build_index, load_image, load_images
from eaves.oci.layers.layer import LayerFile, write_layer
from eaves.oci.layout import ContentSource, Layout, create_layout
from tests.container_images.packaging import build_base, need
from tests.ports import find_port
from tests.waiting import wait_until

COMMAND = "docker-registry"
USER, PASSWORD = "eaves", "secret"
_HTPASSWD = f"{USER}:$2b$04$nI24qv6Bx1kdVvWtu5phweuuLI2l3iOYKRLy9Bebb2r5ZYaWQGL4y\n"  # of PASSWORD


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRegistry:
    """One that runs.

    Attributes:
        host: With its port.
        root: Folder that holds the registry's content.
        log: What it wrote, a line for each request.
    """

    host: str
    root: Path
    log: Path

    def blobs(self) -> dict[str, int]:
        """Digest and size of all that it has."""
        files = self.root.glob("docker/registry/v2/blobs/sha256/*/*/data")
        return {f"sha256:{path.parent.name}": path.stat().st_size for path in files}

    def blob_path(self, digest: str) -> Path:
        """The file that holds a blob or manifest, to alter behind its back."""
        value = digest.removeprefix("sha256:")
        return self.root / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data"

    def tags(self, repository: str) -> set[str]:
        """Every tag of a repository."""
        folder = self.root / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@contextmanager
def serve_registry(
    folder: Path, *, login: bool = False, certificate: tuple[Path, Path] | None = None
) -> Iterator[LocalRegistry]:
    """Run one.

    Args:
        folder: For its files.
        login: Whether it wants USER and PASSWORD.
        certificate: Certificate and key, for TLS.
    """
    need(COMMAND)
    folder.mkdir(parents=True, exist_ok=True)
    port = find_port()
    http = {"addr": f"127.0.0.1:{port}"}
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http
        | ({"tls": dict(zip(("certificate", "key"), map(str, certificate), strict=True))} if certificate else {}),
    }
    if login:
        (folder / "htpasswd").write_text(_HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "registry.yml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([COMMAND, "serve", str(folder / "registry.yml")], stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(process, port, folder / "log"), what="the registry")
            yield LocalRegistry(host=f"127.0.0.1:{port}", root=folder / "data", log=folder / "log")
        finally:
            process.terminate()
            process.wait(10)


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def small_index(
    folder: Path,
    content: bytes = b"one",
    *,
    architectures: tuple[str, ...] = ("amd64", "arm64"),
    labels: Sequence[Mapping[str, str]] = (),
) -> tuple[Layout, Descriptor]:
    """A container image of two layers for each architecture, and what names it: an index, or the only manifest.

    Args:
        folder: For the layouts.
        content: Content of the second layer.
        architectures: What it is for.
        labels: Labels of each container image, in order.
    """
    layout = create_layout(folder / "layout")
    layer = write_layer(layout, [LayerFile(path="etc/data", content=content)], "data")
    start = {"Entrypoint": ["true"], "Env": {}, "User": "1:1", "Labels": {"for": "tests"}}
    made = []
    for number, architecture in enumerate(architectures):
        if labels:
            start = {**start, "Labels": dict(labels[number % len(labels)])}
        base = build_base(folder / architecture, architecture=architecture)
        image = load_image(base, base.resolve("base"))
        for blob in image.layers:
            layout.write(blob, base)
        made.append(build_image(layout, image, [layer], start))
    return layout, made[0] if len(made) == 1 else build_index(layout, made, {})


def check_image(source: ContentSource, descriptor: Descriptor) -> list[Image]:
    """Read a container image to the last byte of each layer."""
    images = list(load_images(source, descriptor))
    for image in images:
        for layer in image.layers:
            check_content(source, layer)
    return images
