"""An OCI layout: a directory with content by digest, and names for it. Source: OCI image-spec, image-layout.md."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

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
from eaves.oci.store.content_store import CHUNK_BYTES, ContentSource, Progress, require_content, verified
from eaves.oci.store.partial import Partial, open_partial, sweep_partials

NAME = "org.opencontainers.image.ref.name"
_BLOBS = "blobs/sha256"
_INDEX = "index.json"
_LAYOUT = "oci-layout"
_TEMPORARY = ".new-"
_UNFINISHED = (f"{_TEMPORARY}*", f".*{STAGING_SUFFIX}")
"""File name patterns of incomplete files, which a process is writing or which a killed process has left."""
_SWEEP_S = 24 * 3600


class Layout:
    """An OCI layout in one directory, as a `ContentSource` and a `ContentTarget`.

    Args:
        path: Path of the directory; see `open_layout` and `create_layout`.
        say: Function that is called with a line of text while this process waits for another one that writes the same
            content.
    """

    def __init__(self, path: Path, say: Callable[[str], object] = lambda text: None) -> None:
        self.path = path
        self._say = say

    def blob_path(self, digest: str) -> Path:
        """Return the path of the content with this digest."""
        return self.path / _BLOBS / digest.removeprefix("sha256:")

    def entries(self) -> list[Descriptor]:
        """Return the descriptors in the layout's index.

        Raises:
            OciError: When index.json can't be read.
        """
        values = parse_document(_read(self.path / _INDEX, MAX_DOCUMENT_BYTES))
        found = values.get("manifests", [])
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
    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> Iterator[BinaryIO]:
        """Open content as a stream.

        Args:
            descriptor: Descriptor of the content.
            start: Offset of the first byte to read.
            poll: Not used, because a disk has no outages.

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
            stream.seek(start)
            yield stream

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest.

        Raises:
            OciError: When the content isn't in the layout or doesn't match the descriptor.
        """
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise OciError(f"the document {descriptor.digest} has {descriptor.size} bytes; that is more than the limit")
        with self.open(descriptor) as stream:
            return b"".join(verified(stream, descriptor))

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress = lambda size: None) -> None:
        """Copy content from a source and verify it; only verified content is stored under its digest.

        After a failure or a kill, the bytes that have arrived stay in a partial file, and the next call continues with
        them.

        Args:
            descriptor: Descriptor of the content.
            source: Source that has the content.
            progress: Function that is called with the size of each piece, first with the size of an earlier call's
                partial file, and with 0 while the copy waits. An exception from it ends the copy.

        Raises:
            OciError: When the content doesn't match the descriptor, or the disk is full.
        """
        target = self.blob_path(descriptor.digest)
        with (
            _writing(target),
            open_partial(target, descriptor, lambda: self.has(descriptor), lambda: progress(0), self._say) as partial,
        ):
            if partial is None:
                progress(descriptor.size)
                return
            progress(partial.size)
            resumed = partial.size > 0
            _receive(target.parent, partial, descriptor, source, progress)
            if resumed and not partial.is_whole:  # the earlier bytes were damaged, so start again at the first byte
                progress(-partial.size)
                partial.clear()
                _receive(target.parent, partial, descriptor, source, progress)
            if partial.is_whole:
                partial.place(target)
                return
            found, size = partial.digest, partial.size
            partial.clear()
            require_content(descriptor, found, size)

    def write_bytes(self, content: bytes, descriptor: Descriptor) -> None:
        """Store content that is in memory."""
        self._place(self.blob_path(descriptor.digest), content)

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
        with self._alone():
            kept = [entry for entry in self.entries() if entry.annotations.get(NAME) != name]
            named = {**descriptor.to_dict(), "annotations": {**descriptor.annotations, NAME: name}}
            self.write_file(_INDEX, _render_index([*(entry.to_dict() for entry in kept), named]))

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file that isn't content by digest into the layout's directory, atomically.

        Raises:
            OciError: When the disk is full.
        """
        self._place(self.path / name, content)

    def adopt(self, path: Path, descriptor: Descriptor) -> None:
        """Move a file that `new_file` has returned to the path of its digest in the layout."""
        target = self.blob_path(descriptor.digest)
        with _writing(target):
            path.replace(target)

    def new_file(self) -> Path:
        """Return a new empty file on the file system of the layout; the caller must pass it to `adopt` or remove it."""
        folder = self.path / _BLOBS
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
        os.close(handle)
        return Path(name)

    def _place(self, target: Path, content: bytes) -> None:
        """Write a file atomically."""
        with _writing(target):
            write_atomically(target, content, durability="none", mode=0o644)

    def _alone(self) -> AbstractContextManager[None]:
        """Return a lock on the layout's index; no other process can change names while it is held."""
        return locked(self.path, folder=True)


def _receive(folder: Path, partial: Partial, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
    """Read the bytes that are missing in a partial file from a source, and append them."""
    if partial.size == descriptor.size:
        return
    _require_space(folder, descriptor.size - partial.size)
    with source.open(descriptor, start=partial.size, poll=lambda: progress(0)) as stream:
        while partial.size <= descriptor.size and (piece := stream.read(CHUNK_BYTES)):
            partial.append(piece)
            progress(len(piece))


def _require_space(folder: Path, size: int) -> None:
    """Check that the disk has enough free space for content, before its download begins.

    Raises:
        OciError: When the disk has too little space.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OciError(
            f"{folder} has {free / 1e6:.1f} MB free, but {size / 1e6:.1f} MB are needed",
            hint="free space on this disk, or choose another folder",
        )


def create_layout(path: Path, say: Callable[[str], object] = lambda text: None) -> Layout:
    """Open the layout at `path`, and create the directory when it doesn't exist.

    Args:
        path: Path of the directory.
        say: Function for messages; see `Layout`.

    Raises:
        OciError: When the path holds something else, or can't be written.
    """
    if not path.exists():
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
    layout = Layout(path)
    if path.is_dir():
        with layout._alone():  # noqa: SLF001 - another process may be making the same one
            there = {entry.name for entry in path.iterdir() if not any(map(entry.match, _UNFINISHED))}
            if there <= {"blobs", _INDEX}:  # empty, or left by a killed process
                with _writing(path):
                    (path / _BLOBS).mkdir(parents=True, exist_ok=True)
                if _INDEX not in there:
                    layout.write_file(_INDEX, _render_index([]))
                layout.write_file(_LAYOUT, json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _sweep(path)
    return open_layout(path, say)


def _sweep(path: Path) -> None:
    """Remove incomplete files that killed processes have left; they are older than `_SWEEP_S` seconds."""
    for left in (left for folder in (path, path / _BLOBS) for name in _UNFINISHED for left in folder.glob(name)):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - _SWEEP_S:
                left.unlink()
    sweep_partials(path / _BLOBS)


def _render_index(entries: list[dict[str, Any]]) -> bytes:
    ordered = sorted(entries, key=lambda entry: entry.get("annotations", {}).get(NAME, entry["digest"]))
    return render_document({"schemaVersion": 2, "mediaType": INDEX, "manifests": ordered})


def open_layout(path: Path, say: Callable[[str], object] = lambda text: None) -> Layout:
    """Open the existing layout at `path`.

    Args:
        path: Path of the directory.
        say: Function for messages; see `Layout`.

    Raises:
        OciError: When there is no layout at the path.
    """
    version = parse_document(_read(path / _LAYOUT, 1024)).get("imageLayoutVersion")
    if version != "1.0.0":
        raise OciError(f"{path} has the layout version {version!r:.40}; this version of Eaves reads 1.0.0")
    return Layout(path, say)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise OciNotFoundError(f"{path.parent} is not an OCI layout: {path.name}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise OciError(f"{path} has more than {max_bytes} bytes")
    return content


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OciError(
            f"{path} can't be written: {error.strerror}", hint="free space on this disk, or choose another folder"
        ) from error


def write_archive(layout: Layout, path: Path) -> None:
    """Write a layout as one tar (`oci-archive`), which podman, ctr and skopeo read: in a fixed order, without times.

    Raises:
        OciError: When the tar can't be written.
    """

    def stripped(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info = tarfile.TarInfo(entry.name)
        info.type, info.size, info.mode = entry.type, entry.size, 0o755 if entry.isdir() else 0o644
        return None if Path(entry.name).name.startswith(".") else info

    with (
        _writing(path),
        replacing(path, durability="none", mode=0o644) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in ("blobs", _INDEX, _LAYOUT):
            tar.add(layout.path / name, name, filter=stripped)
