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
"""Function that is called with the number of bytes that have moved since the last call."""


class ContentSource(Protocol):
    """A place that content is read from."""

    def resolve(self, name: str) -> Descriptor:
        """Return the descriptor of the manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When there is none.
        """

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a document after verifying it.

        Raises:
            OciError: When it doesn't exist, or doesn't match the descriptor.
        """

    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> AbstractContextManager[BinaryIO]:
        """Open content as a stream, which the reader verifies with `verified`.

        Args:
            descriptor: Descriptor of the content.
            start: Offset of the first byte to read.
            poll: Function that is called several times a second while no bytes arrive; an exception from it ends the
                reading.
        """


class ContentTarget(Protocol):
    """A place that content is written to."""

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether this content exists here."""

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Take content from another repository of the same place without moving it; return whether that succeeded."""

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Store content."""

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Store a manifest or index, under a tag if one is given; the content that it refers to must exist here."""


def verified(stream: BinaryIO, descriptor: Descriptor) -> Iterator[bytes]:
    """Yield a stream's content in pieces; the last piece follows only after all content matched the descriptor.

    Raises:
        OciError: When it doesn't match.
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
