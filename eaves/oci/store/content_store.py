"""The interfaces of places that hold container images: a layout on disk or a registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor

CHUNK_BYTES = 1 << 20
FIRST_REPORT_S = 3.0
"""Time without arriving bytes after which the first message about it is printed, seconds."""
REPORT_EVERY_S = 30.0

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
    hashed, held = HashedStream(stream), b""
    while piece := hashed.read(CHUNK_BYTES):
        if hashed.size > descriptor.size:
            break
        if held:
            yield held
        held = piece
    require_content(descriptor, hashed.digest, hashed.size)
    if held:
        yield held


class HashedStream:
    """A stream that counts and hashes the bytes that are read from it or written to it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._seen = stream, hashlib.sha256()
        self.size = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return the next bytes of the stream."""
        piece = self._stream.read(size)
        self._count(piece)
        return piece

    def write(self, piece: bytes) -> int:
        """Write bytes to the stream."""
        self._count(piece)
        return self._stream.write(piece)

    @property
    def digest(self) -> str:
        """Digest of the bytes so far."""
        return f"sha256:{self._seen.hexdigest()}"

    def _count(self, piece: bytes) -> None:
        self._seen.update(piece)
        self.size += len(piece)


def require_content(descriptor: Descriptor, digest: str, size: int) -> None:
    """Raise an OciError unless content has the digest and the size of its descriptor."""
    if (digest, size) != (descriptor.digest, descriptor.size):
        raise OciError(
            f"content of {descriptor.digest} has the wrong digest or size ({digest[:19]}..., {size} bytes)",
            hint="the content was altered or damaged; fetch, build or push it again",
        )


def describe_amount(got: int, size: int) -> str:
    """Return a number of bytes and their total as text, such as `3.1 of 15.2 MB`."""
    unit, name = (1e6, "MB") if size >= 100_000 else (1e3, "KB")
    return f"{got / unit:.1f} of {size / unit:.1f} {name}"
