"""Content by digest: the interfaces of places that hold it, its verification, and the OCI layout, a directory on disk.

Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from eaves.base.files import STAGING_SUFFIX, replacing, write_atomically
from eaves.base.locks import locked
from eaves.errors import OciError, OciNotFoundError
from eaves.oci.descriptor import (
    INDEX,
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    parse_descriptor,
    parse_document,
    render_document,
)

CHUNK_BYTES = 1 << 20
NAME = "org.opencontainers.image.ref.name"
_BLOBS = "blobs/sha256"
_INDEX = "index.json"
_LAYOUT = "oci-layout"
_UNFINISHED = f".*{STAGING_SUFFIX}"
"""File name pattern of incomplete files, which a process is writing or which a killed process has left."""
_STALE_S = 24 * 3600
"""Age, seconds, from which an incomplete file is one that a killed process has left."""

Progress = Callable[[int], object]
"""Function that is called with the number of bytes that were transferred since its last call."""


class ContentSource(Protocol):
    """A layout or repository that content is read from."""

    def open(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """Open content as a stream; the reader must verify it with `verified`."""

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest.

        Raises:
            OciError: When the content doesn't exist, or doesn't match the descriptor.
        """


class ContentTarget(Protocol):
    """A layout or repository that content is written to."""

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the target has the content of a descriptor."""

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Make the registry take content from its repository `other`, without an upload; return whether it did."""

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Copy content from a source to the target, and verify it."""

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Write a manifest or index, whose content the target must have already, under a tag when `name` is given."""


class HashedStream:
    """A stream that counts and hashes the bytes that are read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._seen = stream, hashlib.sha256()
        self.size = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return the next bytes of the stream."""
        piece = self._stream.read(size)
        self._seen.update(piece)
        self.size += len(piece)
        return piece

    @property
    def digest(self) -> str:
        """Digest of the bytes so far."""
        return f"sha256:{self._seen.hexdigest()}"


def verified(stream: BinaryIO, descriptor: Descriptor) -> Iterator[bytes]:
    """Yield the content of a stream in pieces, the last one only after all content is verified.

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
    if (hashed.digest, hashed.size) != (descriptor.digest, descriptor.size):
        raise OciError(
            f"content of {descriptor.digest} has the wrong digest or size ({hashed.digest[:19]}, {hashed.size} bytes)",
            hint="the content was altered or damaged; fetch, build or push it again",
        )
    if held:
        yield held


def read_document(source: ContentSource, descriptor: Descriptor) -> bytes:
    """Return the content of a small document, after verifying its digest.

    Raises:
        OciError: When the content doesn't exist, is too large or doesn't match the descriptor.
    """
    if descriptor.size > MAX_DOCUMENT_BYTES:
        raise OciError(f"the document {descriptor.digest} has {descriptor.size} bytes; that is more than the limit")
    with source.open(descriptor) as stream:
        return b"".join(verified(stream, descriptor))


class Layout:
    """An OCI layout in one directory, as a `ContentSource` and a `ContentTarget`.

    Args:
        path: Path of the directory; see `open_layout` and `create_layout`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def blob_path(self, digest: str) -> Path:
        """Return the path of the content with this digest."""
        return self.path / _BLOBS / digest.removeprefix("sha256:")

    def entries(self) -> list[Descriptor]:
        """Return the descriptors in the layout's index.

        Raises:
            OciError: When index.json can't be read.
        """
        found = parse_document(_read(self.path / _INDEX, MAX_DOCUMENT_BYTES)).get("manifests", [])
        if not isinstance(found, list):
            raise OciError(f"{self.path / _INDEX}: manifests must be a list")
        return [parse_descriptor(entry) for entry in found]

    def resolve(self, name: str) -> Descriptor:
        """Return the descriptor for a tag or digest; an empty name stands for the only entry.

        Raises:
            OciNotFoundError: When the layout has no such entry, or has several entries for an empty name.
        """
        entries = self.entries()
        found = [entry for entry in entries if not name or name in (entry.digest, entry.annotations.get(NAME))]
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(entry.annotations.get(NAME, entry.digest) for entry in entries)) or "nothing"
        raise OciNotFoundError(f"{self.path} has no {name or 'single entry'} (entries: {names[:300]})")

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the layout has content of the descriptor's digest and size."""
        with suppress(OSError):
            return self.blob_path(descriptor.digest).stat().st_size == descriptor.size
        return False

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Return whether the layout has the content; nothing is mounted, because a layout has no repositories."""
        return self.has(descriptor)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Open content as a stream.

        Raises:
            OciNotFoundError: When the layout doesn't have the content.
        """
        try:
            stream = self.blob_path(descriptor.digest).open("rb")
        except OSError as error:
            raise OciNotFoundError(
                f"the content {descriptor.digest} is missing from {self.path}: {error.strerror}"
            ) from error
        with stream:
            yield stream

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest."""
        return read_document(self, descriptor)

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress = lambda size: None) -> None:
        """Copy content from a source; only verified content is stored under its digest.

        Args:
            descriptor: Descriptor of the content.
            source: Source that has the content.
            progress: Function that is called with the size of each piece. An exception from it ends the copy.

        Raises:
            OciError: When the content doesn't match the descriptor, or the disk is full.
        """
        if self.has(descriptor):
            progress(descriptor.size)
            return
        path = self.blob_path(descriptor.digest)
        with (
            _writing(path),
            replacing(path, durability="none", mode=0o644) as file,
            source.open(descriptor) as stream,
        ):
            for piece in verified(stream, descriptor):
                file.write(piece)
                progress(len(piece))

    def write_bytes(self, content: bytes, descriptor: Descriptor) -> None:
        """Store content that is in memory."""
        _replace_file(self.blob_path(descriptor.digest), content)

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Write a manifest or index; when `name` is given, it replaces the previous entry with that name.

        Raises:
            OciError: When the disk is full.
        """
        if descriptor.media_type not in INDEXES | MANIFESTS:
            raise OciError(f"{descriptor.media_type} is neither a manifest nor an index")
        self.write_bytes(content, descriptor)
        if name is None:
            return
        with locked(self.path, folder=True):
            kept = [entry for entry in self.entries() if entry.annotations.get(NAME) != name]
            named = {**descriptor.to_dict(), "annotations": {**descriptor.annotations, NAME: name}}
            self.write_file(_INDEX, _render_index([*(entry.to_dict() for entry in kept), named]))

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file that isn't content by digest into the layout's directory, atomically.

        Raises:
            OciError: When the disk is full.
        """
        _replace_file(self.path / name, content)


def create_layout(path: Path) -> Layout:
    """Open the layout at `path`, and create the directory when it doesn't exist.

    Raises:
        OciError: When the path holds something else, or can't be written.
    """
    if not path.exists():
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
    layout = Layout(path)
    if path.is_dir():
        with locked(path, folder=True):  # another process may be making the same one
            there = {entry.name for entry in path.iterdir() if not entry.match(_UNFINISHED)}
            if there <= {"blobs", _INDEX}:  # empty, or left by a killed process
                with _writing(path):
                    (path / _BLOBS).mkdir(parents=True, exist_ok=True)
                if _INDEX not in there:
                    layout.write_file(_INDEX, _render_index([]))
                layout.write_file(_LAYOUT, json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            for left in (*path.glob(_UNFINISHED), *path.glob(f"{_BLOBS}/{_UNFINISHED}")):
                with suppress(OSError):
                    if left.stat().st_mtime < time.time() - _STALE_S:
                        left.unlink()
    return open_layout(path)


def _render_index(entries: list[dict[str, Any]]) -> bytes:
    ordered = sorted(entries, key=lambda entry: entry.get("annotations", {}).get(NAME, entry["digest"]))
    return render_document({"schemaVersion": 2, "mediaType": INDEX, "manifests": ordered})


def open_layout(path: Path) -> Layout:
    """Open the existing layout at `path`.

    Raises:
        OciError: When there is no layout at the path.
    """
    version = parse_document(_read(path / _LAYOUT, 1024)).get("imageLayoutVersion")
    if version != "1.0.0":
        raise OciError(f"{path} has the layout version {version!r:.40}; this version of Eaves reads 1.0.0")
    return Layout(path)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise OciNotFoundError(f"{path.parent} is not an OCI layout: {path.name}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise OciError(f"{path} has more than {max_bytes} bytes")
    return content


def _replace_file(target: Path, content: bytes) -> None:
    with _writing(target):
        write_atomically(target, content, durability="none", mode=0o644)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OciError(
            f"{path} can't be written: {error.strerror}", hint="free space on this disk, or choose another folder"
        ) from error
