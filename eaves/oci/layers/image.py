"""Building and reading of a container image's config, manifest and index; the result doesn't depend on the time.

Source: OCI image-spec, config.md, manifest.md, image-index.md.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.errors import OciError
from eaves.oci.descriptor import (
    CONFIG,
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    OF_DOCKER,
    Descriptor,
    ImagePlatform,
    build_descriptor,
    parse_descriptor,
    parse_document,
    render_document,
)
from eaves.oci.layers.layer import Layer
from eaves.oci.layout import ContentSource, Layout

EPOCH = "1970-01-01T00:00:00Z"
_OF_THE_BASE = ("Cmd", "Healthcheck", "OnBuild", "StopSignal", "Volumes")
"""Keys of a base image's config that are not copied, because they belong to the program of the base image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image for one platform: descriptors of its parts and the content of its config.

    Attributes:
        descriptor: Descriptor of the manifest.
        config: Descriptor of the config.
        layers: Descriptors of the layers, base first.
        values: Content of the config.
    """

    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    values: Mapping[str, Any]

    @property
    def platform(self) -> ImagePlatform:
        """Platform that the container image runs on."""
        return ImagePlatform(architecture=str(self.values.get("architecture", "")), os=str(self.values.get("os", "")))

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the container image."""
        return self.values.get("config", {}).get("Labels") or {}


def load_images(source: ContentSource, descriptor: Descriptor) -> Iterator[Image]:
    """Return the container images of all platforms under a manifest or index.

    Raises:
        OciError: When a document is missing or malformed.
    """
    return (load_image(source, entry) for entry in _entries(source, descriptor))


def _entries(source: ContentSource, descriptor: Descriptor) -> Iterator[Descriptor]:
    """Yield the manifests of container images in an index (or the manifest itself), without build attestations."""
    if descriptor.media_type not in INDEXES:
        yield descriptor
        return
    entries = parse_document(source.read(descriptor)).get("manifests")
    if not isinstance(entries, list):
        raise OciError(f"the OCI index {descriptor.digest} lists no manifests")
    for entry in map(parse_descriptor, entries):
        unknown = entry.platform is not None and entry.platform.os in ("", "unknown")
        if entry.media_type in MANIFESTS and not unknown:
            yield entry


def load_image(source: ContentSource, descriptor: Descriptor) -> Image:
    """Read the documents of one platform's container image.

    Raises:
        OciError: When a document is missing or malformed.
    """
    if descriptor.media_type not in MANIFESTS:
        raise OciError(
            f"{descriptor.digest} has the type {descriptor.media_type[:80]}, not the "
            "type of a container image's manifest"
        )
    manifest = parse_document(source.read(descriptor))
    try:
        config = parse_descriptor(manifest["config"])
        if OF_DOCKER.get(config.media_type, config.media_type) != CONFIG:
            raise OciError(f"{descriptor.digest} contains a {config.media_type[:80]}, not a container image")
        layers = tuple(parse_descriptor(entry) for entry in manifest["layers"])
        values = parse_document(source.read(config))
        diff_ids = values["rootfs"]["diff_ids"]
        if not isinstance(values.get("config", {}), dict) or not isinstance(diff_ids, list):
            raise TypeError("config")
    except (KeyError, TypeError) as error:
        raise OciError(f"{descriptor.digest} is not a container image that can run: it has no {error}") from error
    if len(diff_ids) != len(layers):
        raise OciError(f"{descriptor.digest} has {len(layers)} layers but {len(diff_ids)} diff ids")
    return Image(descriptor=descriptor, config=config, layers=layers, values=values)


def pick_image(source: ContentSource, descriptor: Descriptor, platform: ImagePlatform) -> Image:
    """Return the container image for a platform; other platforms' manifests aren't read if the index names platforms.

    Raises:
        OciError: When there is no container image for the platform.
    """
    there = set()
    for entry in _entries(source, descriptor):
        if entry.platform in (None, platform):
            image = load_image(source, entry)
            if image.platform == platform:
                return image
            there.add(str(image.platform))
        else:
            there.add(str(entry.platform))
    raise OciError(
        f"there is no container image for {platform} (available: {', '.join(sorted(there)) or 'none'})",
        hint="choose another base image or platform",
    )


def build_image(layout: Layout, base: Image, layers: Sequence[Layer], run: Mapping[str, Any]) -> Descriptor:
    """Build a container image that has the layers of a base image and further layers on top.

    Args:
        layout: Layout that has the layers' content and receives the config and the manifest.
        base: Base image; the content of its layers needn't be in `layout`.
        layers: Layers to add, lowest first.
        run: How the container starts, as `config` in the container image's config; `Env` and `Labels` are mappings,
            which are added to those of the base image.

    Returns:
        The descriptor of the manifest, with its platform.
    """
    values = _build_config(base, layers, run)
    content = render_document(values)
    config = build_descriptor(content, CONFIG)
    layout.write_bytes(content, config)
    below = [replace(layer, media_type=OF_DOCKER.get(layer.media_type, layer.media_type)) for layer in base.layers]
    manifest = render_document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.to_dict(),
            "layers": [layer.to_dict() for layer in [*below, *(layer.descriptor for layer in layers)]],
            "annotations": dict(run["Labels"]),
        }
    )
    descriptor = replace(build_descriptor(manifest, MANIFEST), platform=base.platform)
    layout.write_manifest(descriptor, manifest)
    return descriptor


def build_index(layout: Layout, manifests: Sequence[Descriptor], annotations: Mapping[str, str]) -> Descriptor:
    """Write an index over the manifests of several platforms; return its descriptor."""
    ordered = sorted(manifests, key=lambda one: str(one.platform))
    content = render_document(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [one.to_dict() for one in ordered],
            "annotations": dict(annotations),
        }
    )
    descriptor = build_descriptor(content, INDEX)
    layout.write_manifest(descriptor, content)
    return descriptor


def _build_config(base: Image, layers: Sequence[Layer], run: Mapping[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(dict(base.values))
    own = {key: value for key, value in (values.get("config") or {}).items() if key not in _OF_THE_BASE}
    environment = dict(entry.partition("=")[::2] for entry in own.get("Env") or []) | run["Env"]
    values["config"] = {
        **own,
        **run,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {**(own.get("Labels") or {}), **run["Labels"]},
        "WorkingDir": "/",
    }
    values["rootfs"] = {
        "type": "layers",
        "diff_ids": [*base.values["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)],
    }
    made = [{"created": EPOCH, "created_by": f"eaves package: {layer.title}"} for layer in layers]
    values["history"] = [*(base.values.get("history") or []), *made]
    values.setdefault("created", EPOCH)
    for dead in ("container", "container_config", "docker_version", "id", "parent"):
        values.pop(dead, None)
    return values
