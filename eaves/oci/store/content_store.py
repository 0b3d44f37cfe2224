"""The interfaces of places that hold container images: a layout on disk or a registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor

CHUNK_BYTES = 1 << 20

Progress = Callable[[int], object]
"""Function that is called with the number of bytes that were transferred since its last call."""


class ContentSource(Protocol):
    """A layout or repository that content is read from."""

    def resolve(self, name: str) -> Descriptor:
        """Return the descriptor of the manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When there is no such tag or digest.
        """

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest.

        Raises:
            OciError: When the content doesn't exist, or doesn't match the descriptor.
        """

    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> AbstractContextManager[BinaryIO]:
        """Open content as a stream; the reader must verify it with `verified`.

        Args:
            descriptor: Descriptor of the content.
            start: Offset of the first byte to read.
            poll: Function that is called several times a second while no bytes arrive; an exception from it ends the
                reading.
        """


class ContentTarget(Protocol):
    """A layout or repository that content is written to."""

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the target has the content of a descriptor."""

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Make the registry take content from its repository `other`, without an upload; return whether it did."""

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Copy content from a source to the target."""

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Write a manifest or index, under a tag when `name` is given.

        The target must already have all content that the manifest refers to.
        """


def verified(stream: BinaryIO, descriptor: Descriptor) -> Iterator[bytes]:
    """Yield the content of a stream in pieces, and hold back the last piece until all content is verified.

    Size and digest of the content must match the descriptor.

    Raises:
        OciError: When the size or digest of the content doesn't match the descriptor.
    """
    seen, size, held = hashlib.sha256(), 0, b""
    while piece := stream.read(CHUNK_BYTES):
        seen.update(piece)
        size += len(piece)
        if size > descriptor.size:
            break
        if held:
            yield held
        held = piece
    found = f"sha256:{seen.hexdigest()}"
    if size != descriptor.size or found != descriptor.digest:
        raise OciError(
            f"content of {descriptor.digest} has the wrong digest or size ({found[:19]}..., {size} bytes)",
            hint="the content was altered or damaged; fetch or build it again",
        )
    if held:
        yield held
