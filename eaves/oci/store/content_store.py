"""Where container images are: what a layout on disk and a registry have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor

CHUNK_BYTES = 1 << 20

Progress = Callable[[int], object]
"""Told how many more bytes have moved."""


class ContentSource(Protocol):
    """Content can be read from here."""

    def resolve(self, name: str) -> Descriptor:
        """The manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When there is none.
        """

    def read(self, descriptor: Descriptor) -> bytes:
        """A document, verified.

        Raises:
            OciError: When it isn't there, or isn't what the descriptor says.
        """

    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> AbstractContextManager[BinaryIO]:
        """Content as a stream; whoever reads it verifies it (`verified`).

        Args:
            descriptor: Of it.
            start: The byte to begin with.
            poll: Called several times a second while nothing comes; what it raises ends the reading.
        """


class ContentTarget(Protocol):
    """Content can be written here."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether this very content is here already."""

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Take content over from another repository of the same place, without moving it; whether that worked."""

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Take content in."""

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Take a manifest or index in, under a tag if it gets one; what it refers to is here already."""


def verified(stream: BinaryIO, descriptor: Descriptor) -> Iterator[bytes]:
    """A stream's content in pieces; the last piece comes only once all of it is what the descriptor says.

    Raises:
        OciError: When it isn't.
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
            f"content of {descriptor.digest} has another digest or size ({found[:19]}..., {size} bytes)",
            hint="it was altered or damaged: fetch or build it again",
        )
    if held:
        yield held
