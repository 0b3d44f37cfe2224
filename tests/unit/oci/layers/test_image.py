"""Base and layers to a config, a manifest and an index; which of a base's platforms is taken."""

from dataclasses import replace
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
from eaves.oci.layers.image import build_index, pick_image
from eaves.oci.layout import Layout, create_layout

AMD64, ARM64 = ImagePlatform(architecture="amd64"), ImagePlatform(architecture="arm64")


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


def test_of_an_index_only_the_wanted_platform_is_read(layout: Layout):
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


def test_an_index_is_the_same_in_whatever_order_its_platforms_are_built(layout: Layout):
    made = [replace(build_descriptor(b"{}", MANIFEST), platform=platform) for platform in (AMD64, ARM64)]
    assert build_index(layout, made, {}) == build_index(layout, made[::-1], {})
