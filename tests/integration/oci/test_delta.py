"""What an update moves, counted at a real registry: a new head on the same backbone moves no byte of the backbone."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.errors import OciError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Descriptor, parse_reference
from eaves.oci.layout import ContentSource, create_layout
from eaves.oci.package import Base, package
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.packaging import build_base, this_platform
from tests.container_images.registries import LocalRegistry, serve_registry
from tests.fakes.models.artifact import write_colours

BACKBONE = random.Random(1).randbytes(2_000_000)
ACCESS = Access(plain_http=True, configs=(Path("/nonexistent"),))


def build(folder: Path, head: bytes, *, backbone: bytes = BACKBONE, handler: str = "") -> Artifact:
    """A model whose backbone is large and whose head is small."""

    def change(staging: Path) -> None:
        (staging / "weights/backbone.bin").write_bytes(backbone)
        (staging / "weights/head.bin").write_bytes(head)
        if handler:
            (staging / "handler.py").write_text(handler)

    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_colours(folder, change=change)


class Shop:
    """Packages artifacts and puts them at a registry."""

    def __init__(self, folder: Path, cache: Path, registry: LocalRegistry) -> None:
        self._folder, self._cache, self.registry = folder, create_layout(cache / "eaves/oci"), registry
        layout = build_base(folder / "base")
        self._base = Base(source=layout, descriptor=layout.resolve("base"), name="")

    def package(self, artifact: Artifact, *, allow_handler: bool = False) -> tuple[Descriptor, ContentSource]:
        layout = create_layout(self._folder / f"of-{artifact.digest[:12]}")
        platforms = [this_platform()]
        return package(artifact, self._base, layout, self._cache, platforms=platforms, allow_handler=allow_handler)

    def push(self, artifact: Artifact, name: str) -> list[Descriptor]:
        (made, source), reference = self.package(artifact), parse_reference(f"{self.registry.host}/{name}")
        return copy_image(source, Registry(reference, ACCESS), made, name=reference.tag)[0]


@pytest.fixture
def shop(tmp_path: Path, oci_cache: Path) -> Iterator[Shop]:
    with serve_registry(tmp_path / "registry") as registry:
        yield Shop(tmp_path, oci_cache, registry)


def test_a_new_head_moves_a_head(shop: Shop, tmp_path: Path):
    shop.push(build(tmp_path / "a", b"a" * 3000), "barn/colours:a")
    before, log = shop.registry.blobs(), len(shop.registry.log.read_bytes())
    copied = shop.push(build(tmp_path / "b", b"b" * 3000), "barn/colours:b")
    arrived = {digest: size for digest, size in shop.registry.blobs().items() if digest not in before}
    moved = sum(arrived.values())
    assert moved < len(BACKBONE) / 50
    titles = [one.annotations.get("org.opencontainers.image.title", "config") for one in copied]
    assert sorted(titles) == ["config", "head, labels, manifest"]
    # What the registry was asked to take in is that and nothing else.
    asked = shop.registry.log.read_bytes()[log:].decode()
    uploads = [line for line in asked.splitlines() if '"POST' in line and "/blobs/uploads/" in line]
    assert len(uploads) == 2


def test_a_handler_comes_along_only_when_allowed_and_is_labelled(shop: Shop, tmp_path: Path):
    artifact = build(tmp_path / "a", b"a", handler="def prepare(data): ...\n")
    with pytest.raises(OciError, match=r"handler\.py, code that runs") as caught:
        shop.package(artifact)
    assert caught.value.hint == "read handler.py, then package with --allow-handler"
    made, source = shop.package(artifact, allow_handler=True)
    manifest = json.loads(source.read(made))
    digest = artifact.manifest.files["handler.py"].sha256
    assert manifest["annotations"]["dev.eaves.handler"] == f"sha256:{digest}"
    assert manifest["layers"][-1]["annotations"] == {"org.opencontainers.image.title": "handler.py"}
