"""Copying of a container image: first the content that the target lacks, then the tag.

When a copy is interrupted, the tag at the target still names the previous container image. `compute_delta` compares two
container images: which content a node with the old one must fetch for the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from eaves.oci.descriptor import Descriptor, ImagePlatform
from eaves.oci.layers.image import Image, load_images, pick_image
from eaves.oci.layers.layer import TITLE
from eaves.oci.layout import ContentSource, ContentTarget, Layout, Progress, verified


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySummary:
    """The blobs of a copied container image, by how each came to the target; manifests aren't listed.

    Attributes:
        moved: Content that was transferred.
        mounted: Content that the target took from another of its repositories.
        present: Content that the target had already.
    """

    moved: tuple[Descriptor, ...]
    mounted: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]


class Overlay:
    """A content source that reads each piece from the first layout that has it, otherwise from a base source."""

    def __init__(self, layouts: Sequence[Layout], base: ContentSource) -> None:
        self._layouts = layouts
        self._base = base

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest."""
        return self._having(descriptor).read(descriptor)

    def open(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Open content as a stream, from the first layout that has it, otherwise from the base."""
        return self._having(descriptor).open(descriptor)

    def _having(self, descriptor: Descriptor) -> ContentSource:
        return next((layout for layout in self._layouts if layout.has(descriptor)), self._base)


def copy_image(
    source: ContentSource,
    target: ContentTarget,
    descriptor: Descriptor,
    *,
    name: str | None = None,
    mounts: Sequence[str] = (),
    progress: Callable[[Descriptor], Progress] = lambda descriptor: lambda size: None,
) -> CopySummary:
    """Copy a manifest or index with everything that it refers to.

    Args:
        source: Source that has the container image.
        target: Target that receives it.
        descriptor: Descriptor of the manifest or index.
        name: Tag at the target; None writes none.
        mounts: Other repositories of the target that may have some of the content.
        progress: Function that is called with each blob that is transferred, and returns the function that is then
            called with the size of each part of that blob.

    Returns:
        The blobs that were moved, mounted or already present.

    Raises:
        OciError: When content is missing or altered, or the target refuses it. Content that was copied before stays at
            the target, without a tag.
    """
    images = list(load_images(source, descriptor))
    blobs = {blob.digest: blob for image in images for blob in (*image.layers, image.config)}
    # Documents are read before the layers, so that a missing document is noticed before layers are fetched for hours.
    manifests = {one.digest: source.read(one) for one in (*(image.descriptor for image in images), descriptor)}

    moved, mounted, present = [], [], []
    for blob in blobs.values():
        if target.has(blob):
            present.append(blob)
        elif any(target.mount(blob, other) for other in mounts):
            mounted.append(blob)
        else:
            target.write(blob, source, progress(blob))
            moved.append(blob)
    for image in images:
        if image.descriptor.digest != descriptor.digest:
            target.write_manifest(image.descriptor, manifests[image.descriptor.digest])
    target.write_manifest(descriptor, manifests[descriptor.digest], name)
    return CopySummary(moved=tuple(moved), mounted=tuple(mounted), present=tuple(present))


def check_content(source: ContentSource, descriptor: Descriptor, progress: Progress = lambda size: None) -> None:
    """Read a blob to its end.

    Args:
        source: Source that has the blob.
        descriptor: Descriptor of the blob.
        progress: Function that is called with the size of each part that was read.

    Raises:
        OciError: When the blob is missing, or doesn't match its digest or size.
    """
    with source.open(descriptor) as stream:
        for piece in verified(stream, descriptor):
            progress(len(piece))


def content_of(image: Image) -> tuple[Descriptor, ...]:
    """Return all content that a node fetches to run a container image: the manifest, the config and the layers."""
    return (image.descriptor, image.config, *image.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaStep:
    """One piece of content of the new container image.

    Attributes:
        what: `manifest`, `config`, or the layer's title.
        descriptor: Descriptor of the content.
        there: Whether the node has the content already.
    """

    what: str
    descriptor: Descriptor
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The content of the new container image, each piece with the information whether the node has it.

    Attributes:
        steps: Every piece of content, in the order manifest, config, layers from the bottom.
    """

    steps: tuple[DeltaStep, ...]

    @property
    def fetched_bytes(self) -> int:
        """Number of bytes that the node must fetch, compressed as they are transferred."""
        return sum(step.descriptor.size for step in self.steps if not step.there)

    @property
    def total_bytes(self) -> int:
        """Number of bytes that a node would fetch if it had none of the content."""
        return sum(step.descriptor.size for step in self.steps)


def compute_delta(
    old: tuple[ContentSource, Descriptor], new: tuple[ContentSource, Descriptor], platform: ImagePlatform
) -> Delta:
    """Return the content that a node with the old container image must fetch to run the new one.

    Args:
        old: Source and descriptor of the old container image.
        new: Source and descriptor of the new container image.
        platform: Platform of the node.

    Raises:
        OciError: When one of the container images has no variant for the platform, or can't be read.
    """
    here = {piece.digest for piece in content_of(pick_image(*old, platform))}
    image = pick_image(*new, platform)
    titles = [layer.annotations.get(TITLE) or f"layer {number}" for number, layer in enumerate(image.layers, 1)]
    pieces = zip(["manifest", "config", *titles], content_of(image), strict=True)
    return Delta(
        steps=tuple(DeltaStep(what=what, descriptor=piece, there=piece.digest in here) for what, piece in pieces)
    )
