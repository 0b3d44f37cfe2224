"""Copying of a container image: first the content that the target lacks, then the tag.

When a copy is interrupted, the tag at the target still names the previous container image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor, Reference, parse_reference
from eaves.oci.layers.image import load_images
from eaves.oci.layout import ContentSource, ContentTarget, Layout, Progress, create_layout, open_layout, verified
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access


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
) -> tuple[list[Descriptor], list[Descriptor]]:
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
        moved: The blobs that were transferred; manifests aren't listed.
        kept: The blobs that the target had already, or took from another of its repositories.

    Raises:
        OciError: When content is missing or altered, or the target refuses it. Content that was copied before stays at
            the target, without a tag.
    """
    images = list(load_images(source, descriptor))
    blobs = {blob.digest: blob for image in images for blob in (*image.layers, image.config)}
    # Documents are read before the layers, so that a missing document is noticed before layers are fetched for hours.
    manifests = {one.digest: source.read(one) for one in (*(image.descriptor for image in images), descriptor)}

    moved, kept = [], []
    for blob in blobs.values():
        if target.has(blob) or any(target.mount(blob, other) for other in mounts):
            kept.append(blob)
        else:
            target.write(blob, source, progress(blob))
            moved.append(blob)
    for image in images:
        if image.descriptor.digest != descriptor.digest:
            target.write_manifest(image.descriptor, manifests[image.descriptor.digest])
    target.write_manifest(descriptor, manifests[descriptor.digest], name)
    return moved, kept


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


LAYOUT = "oci:"
VERSION = "{version}"
"""Placeholder for the model's version in a tag that a pipeline publishes to."""
BEST, SERVING = "best", "serving"
"""Roles of container images among those that a pipeline publishes, each named by a tag: the best model so far, and the
model that serves again after a rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLocation:
    """The location that a container image is read from or written to.

    Attributes:
        store: The layout or repository.
        name: Tag or digest in the layout or repository. In a layout it may be empty, and then stands for the only
            entry.
        reference: Reference at a registry; None for a layout.
    """

    store: Layout | Registry
    name: str
    reference: Reference | None = None

    def resolve(self) -> Descriptor:
        """Return the descriptor that the name stands for.

        Raises:
            OciError: When the layout or repository has no such name.
        """
        return self.store.resolve(self.name)

    def tag(self, descriptor: Descriptor) -> None:
        """Let the name stand for a container image that the layout or repository has already.

        Raises:
            OciError: When the container image isn't there.
            RegistryError: When the registry fails, or refuses it.
        """
        self.store.write_manifest(descriptor, self.store.read(descriptor), self.name)


def name_role(target: str, role: str) -> str:
    """Return the name of the container image that has a role among those that a pipeline publishes.

    Args:
        target: Repository that the pipeline publishes to, with its tag if that isn't the version alone; the tag may
            contain `VERSION`.
        role: `BEST` or `SERVING`.
    """
    if VERSION in target:
        return target.replace(VERSION, role)
    return f"{target}-{role}" if ":" in target.rpartition("/")[2] else f"{target}:{role}"


def open_location(text: str, access: Access, *, create: bool = False) -> ImageLocation:
    """Open the layout or repository that a name stands for.

    Args:
        text: `oci:DIR[:NAME]` for a layout, or the reference of a container image at a registry.
        access: Settings for reaching registries.
        create: Whether a layout that doesn't exist is created.

    Raises:
        OciError: When the name is malformed, or the layout doesn't exist.
    """
    if text.startswith(LAYOUT):
        folder, at, name = text.removeprefix(LAYOUT).partition("@")  # DIR, DIR:NAME or DIR@DIGEST
        head, colon, tail = folder.rpartition(":")
        if not at and colon and "/" not in tail:
            folder, name = head, tail
        if not folder:
            raise OciError(f"{text!r} contains no folder", hint="name a folder, for example oci:build/flowers:v1")
        return ImageLocation(store=(create_layout if create else open_layout)(Path(folder)), name=name)
    reference = parse_reference(text)
    return ImageLocation(store=Registry(reference, access), name=reference.name, reference=reference)
