"""Base and layers to a config, a manifest and an index; which of a base's platforms is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import OciError
from eaves.oci.descriptor import (
    CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MANIFEST,
    Descriptor,
    ImagePlatform,
    build_descriptor,
    render_document,
)
from eaves.oci.layers.image import build_image, pick_image
from eaves.oci.layers.layer import LayerFile, write_layer
from eaves.oci.layout import Layout, create_layout

AMD64, ARM64 = ImagePlatform(architecture="amd64"), ImagePlatform(architecture="arm64")
START = {
    "Entrypoint": ["python", "-m", "functions"],
    "Env": {"HOME": "/tmp", "PYTHON_VERSION": "3.14.0"},
    "User": "65532:65532",
    "ExposedPorts": {"8080/tcp": {}},
    "Labels": {"a": "b"},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "layout")


def write(layout: Layout, values: dict[str, Any], media_type: str = MANIFEST) -> Descriptor:
    content = render_document(values)
    descriptor = build_descriptor(content, media_type)
    layout.write_manifest(descriptor, content)
    return descriptor


def blob(layout: Layout, content: bytes, media_type: str) -> dict[str, Any]:
    descriptor = build_descriptor(content, media_type)
    layout.write_bytes(content, descriptor)
    return descriptor.to_dict()


def manifest(layout: Layout, config: dict[str, Any], *, docker: bool = False) -> Descriptor:
    kind = "application/vnd.docker.container.image.v1+json" if docker else CONFIG
    values = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}, "os": "linux"} | config
    layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layers = [{"mediaType": layer_type, "digest": "sha256:" + "1" * 64, "size": 7}]
    config_entry = blob(layout, render_document(values), kind)
    document = {"schemaVersion": 2, "config": config_entry, "layers": layers}
    return write(layout, document, DOCKER_MANIFEST if docker else MANIFEST)


def entry(descriptor: Descriptor, platform: dict[str, str] | None) -> dict[str, Any]:
    return descriptor.to_dict() | ({"platform": platform} if platform else {})


def test_what_is_built_keeps_the_base_and_starts_as_configured(layout: Layout, tmp_path: Path) -> None:
    config = {
        "architecture": "amd64",
        "created": "2026-01-01T00:00:00Z",
        "docker_version": "20",
        "config": {
            "Env": ["PATH=/usr/bin", "PYTHON_VERSION=3.13.1"],
            "Cmd": ["python3"],
            "StopSignal": "SIGINT",
            "Volumes": {"/data": {}},
            "Labels": {"base": "yes"},
        },
        "history": [{"created_by": "base"}],
    }
    base = pick_image(layout, manifest(layout, config, docker=True), AMD64)
    layer = write_layer(layout, [LayerFile(path="a", content=b"")], "mine")
    built = build_image(layout, base, [layer], START)
    values = json.loads(layout.read(built))
    assert [one["mediaType"].rpartition(".")[2] for one in values["layers"]] == ["tar+gzip"] * 2
    assert "docker" not in json.dumps(values)
    made = json.loads(layout.blob_path(values["config"]["digest"]).read_bytes())
    assert made["config"] == {
        "Entrypoint": ["python", "-m", "functions"],
        "Env": ["PATH=/usr/bin", "PYTHON_VERSION=3.14.0", "HOME=/tmp"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"base": "yes", "a": "b"},
        "User": "65532:65532",
        "WorkingDir": "/",
    }
    assert made["rootfs"]["diff_ids"] == ["sha256:" + "0" * 64, layer.diff_id]
    assert [one["created_by"] for one in made["history"]] == ["base", "eaves package: mine"]
    assert (made["created"], "docker_version" in made) == ("2026-01-01T00:00:00Z", False)
    assert base.values["config"]["Cmd"] == ["python3"]


def test_of_an_index_only_the_wanted_platform_is_read(layout: Layout) -> None:
    """Its other platforms need not be there: a mirror may hold one only."""
    elsewhere = build_descriptor(b"not here", MANIFEST)
    attested = build_descriptor(b"nor this", MANIFEST)
    here = manifest(layout, {"architecture": "arm64", "variant": "v8"})
    index = write(
        layout,
        {
            "manifests": [
                entry(elsewhere, {"os": "linux", "architecture": "amd64"}),
                entry(attested, {"os": "unknown", "architecture": "unknown"}),
                entry(here, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
            ]
        },
        DOCKER_LIST,
    )
    assert pick_image(layout, index, ARM64).descriptor.digest == here.digest
    assert pick_image(layout, index, ImagePlatform(architecture="arm64")).descriptor.digest == here.digest
    with pytest.raises(OciError, match=r"no container image for linux/s390x \(available: linux/amd64, linux/arm64"):
        pick_image(layout, index, ImagePlatform(architecture="s390x"))
