"""Files > a layer: a tar whose bytes depend on the files' names, modes and contents alone.

Layers are compressed by libdeflate, whose output depends on its version only, which is pinned; Python's own zlib is
whichever one it was built with, and each compresses differently. A layer that isn't compressed would be by whoever
copies it next (skopeo, podman), and have another digest from then on.

Source: OCI image-spec, layer.md; POSIX.1-2001 pax for long names.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from eaves.errors import OciError
from eaves.oci.descriptor import LAYER, LAYER_GZIP, Descriptor, build_descriptor
from eaves.oci.store.layout import Layout

FAST, SMALL = 1, 9
"""Levels: weights hardly shrink further after the first (int8 ones by 20 %), code does."""
MAX_COMPRESSED_BYTES = 2**29
"""Of the files of a layer that is compressed, which is done in memory; one with more is a plain tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFile:
    """One file of a layer.

    Attributes:
        path: Where it will be, relative to the root, `opt/code/eaves/__init__.py`.
        content: Its bytes, or the file that has them.
        executable: Whether it may be run.
        sha256: Digest that the packed bytes must have, hex; empty when the file may hold anything.
    """

    path: str
    content: bytes | Path
    executable: bool = False
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that is in a layout.

    Attributes:
        descriptor: As a manifest lists it.
        diff_id: Digest of the plain tar, as a config lists it.
        title: For people: what is in it.
    """

    descriptor: Descriptor
    diff_id: str
    title: str


def write_layer(layout: Layout, files: Iterable[LayerFile], title: str, *, level: int = FAST) -> Layer:
    """Make a layer.

    Args:
        layout: Gets its content.
        files: In any order; folders come of themselves.
        title: Of the layer.
        level: How hard to compress it.

    Raises:
        OciError: When a file can't be read or hasn't its `sha256`, two have one path, or the disk is full.
    """
    ordered = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    _check(ordered)
    small = sum(map(_size, ordered)) <= MAX_COMPRESSED_BYTES
    return _compressed(layout, ordered, title, level) if small else _plain(layout, ordered, title)


def _plain(layout: Layout, files: list[LayerFile], title: str) -> Layer:
    temporary = layout.new_file()
    try:
        with temporary.open("wb") as stream:
            hashed = _Hashing(stream)
            _write_tar(hashed, files)
        temporary.chmod(0o644)
        descriptor = Descriptor(media_type=LAYER, digest=hashed.digest, size=hashed.size, annotations=_titled(title))
        layout.adopt(temporary, descriptor)
    except OSError as error:
        raise OciError(f"the layer {title} can't be written: {error.strerror}", hint="free some space") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Layer(descriptor=descriptor, diff_id=descriptor.digest, title=title)


def _compressed(layout: Layout, files: list[LayerFile], title: str, level: int) -> Layer:
    compressor()
    import deflate

    buffer = io.BytesIO()
    _write_tar(buffer, files)
    plain = buffer.getbuffer()
    content = bytes(deflate.gzip_compress(plain, level))
    descriptor = build_descriptor(content, LAYER_GZIP, **_titled(title))
    layout.write_bytes(content, descriptor)
    return Layer(descriptor=descriptor, diff_id=f"sha256:{hashlib.sha256(plain).hexdigest()}", title=title)


def compressor() -> str:
    """Version of the package that compresses: the bytes of a layer hang on it.

    Raises:
        OciError: When it isn't installed.
    """
    try:
        import deflate

        return metadata.version(deflate.__name__)
    except ImportError as error:  # what a package without metadata raises too
        raise OciError("nothing here can compress layers: deflate is missing", hint="install eaves[oci]") from error


def _size(file: LayerFile) -> int:
    if isinstance(file.content, bytes):
        return len(file.content)
    try:
        return file.content.stat().st_size
    except OSError as error:
        raise _unreadable(file.content, error) from error


def _unreadable(path: Path, error: OSError) -> OciError:
    return OciError(f"{path} can't be read or packed: {error.strerror or error}")


def _titled(title: str) -> dict[str, str]:
    return {"org.opencontainers.image.title": title}


def _check(files: list[LayerFile]) -> None:
    seen: set[str] = set()
    for file in files:
        parts = PurePosixPath(file.path).parts
        if not parts or file.path.startswith("/") or ".." in parts or str(PurePosixPath(file.path)) != file.path:
            raise OciError(f"a layer can't hold the path {file.path[:200]!r}")
        if parts[-1].startswith(".wh."):  # would remove a file of a layer below
            raise OciError(f"a layer can't hold a file named {parts[-1][:80]!r}")
        if file.path in seen:
            raise OciError(f"a layer holds {file.path} twice")
        seen.add(file.path)


def _write_tar(stream: Any, files: list[LayerFile]) -> None:
    # dereferencing, owners, times: all of it is written here and nothing is taken from the disk.
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 16) as tar:
        for folder in _folders(files):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for file in files:
            _add(tar, file)


def _folders(files: list[LayerFile]) -> Iterator[str]:
    seen: set[PurePosixPath] = set()
    for file in files:
        for folder in reversed(PurePosixPath(file.path).parents[:-1]):
            if folder not in seen:
                seen.add(folder)
                yield str(folder)


def _add(tar: tarfile.TarFile, file: LayerFile) -> None:
    info = tarfile.TarInfo(file.path)
    info.mode = 0o755 if file.executable else 0o644
    if isinstance(file.content, bytes):
        info.size = len(file.content)
        tar.addfile(info, io.BytesIO(file.content))
        return
    try:
        with file.content.open("rb") as stream:
            info.size = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            read = _HashingReader(stream)
            tar.addfile(info, read)  # type: ignore[arg-type]  # it only reads
    except OSError as error:
        raise _unreadable(file.content, error) from error
    if file.sha256 and read.hexdigest != file.sha256:
        raise OciError(f"{file.content} was changed while it was packaged", hint="package it again")


class _HashingReader:
    """Hashes the bytes that are read through it, so that what is packed and what is checked are the same bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._seen = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._seen.update(data)
        return data

    @property
    def hexdigest(self) -> str:
        return self._seen.hexdigest()


class _Hashing:
    """A stream that hashes what goes through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._seen = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._seen.update(data)
        self.size += len(data)
        return self._stream.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._seen.hexdigest()}"
