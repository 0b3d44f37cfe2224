"""Building of layers: tars whose bytes depend only on the names, modes and contents of the files.

Layers are compressed with libdeflate, whose output depends only on its version, which is pinned. Python's own zlib is a
different library in different builds of Python, each with other output. A layer that isn't compressed would be
compressed by other tools that copy it (skopeo, podman), which changes its digest.

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
"""Compression levels: FAST for model files, which a higher level hardly makes smaller (int8 weights shrink by 20 %),
and SMALL for code."""
MAX_COMPRESSED_BYTES = 2**29
"""Maximum size of a layer's files for which the layer is compressed, bytes, because compression takes place in memory.
A larger layer is an uncompressed tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFile:
    """One file of a layer.

    Attributes:
        path: Path relative to the root, such as `opt/code/eaves/__init__.py`.
        content: Bytes of the file, or the path of a file with them.
        executable: Whether the file is executable.
        sha256: SHA-256 that the packed bytes must have, in hex; empty for no check.
    """

    path: str
    content: bytes | Path
    executable: bool = False
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that was written to a layout.

    Attributes:
        descriptor: Descriptor as a manifest lists it.
        diff_id: Digest of the uncompressed tar, as a config lists it.
        title: Title of the layer, for display.
    """

    descriptor: Descriptor
    diff_id: str
    title: str


def write_layer(layout: Layout, files: Iterable[LayerFile], title: str, *, level: int = FAST) -> Layer:
    """Write a layer to a layout.

    Args:
        layout: Layout that receives the content.
        files: Files in any order; their folders are added.
        title: Title of the layer.
        level: Compression level.

    Raises:
        OciError: When a file can't be read or doesn't match its `sha256`, two files have the same path, or the disk is
            full.
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
        raise OciError(
            f"the layer {title} can't be written: {error.strerror}", hint="free space on this disk"
        ) from error
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
    """Return the version of libdeflate's Python package, on which the bytes of a compressed layer depend.

    Raises:
        OciError: When the package isn't installed.
    """
    try:
        import deflate

        return metadata.version(deflate.__name__)
    except ImportError as error:  # a package without metadata raises this too
        raise OciError(
            "layers can't be compressed: the package deflate is not installed",
            hint="pip install '.[oci]'   # in a checkout of Eaves",
        ) from error


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
            raise OciError(f"a layer can't contain the path {file.path[:200]!r}")
        if parts[-1].startswith(".wh."):  # would remove a file of a layer below
            raise OciError(f"a layer can't contain a file with the name {parts[-1][:80]!r}")
        if file.path in seen:
            raise OciError(f"a layer contains {file.path} twice")
        seen.add(file.path)


def _write_tar(stream: Any, files: list[LayerFile]) -> None:
    # Owners, times and link targets are set here; none is taken from the disk.
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
            tar.addfile(info, read)  # type: ignore[arg-type]  # addfile only reads
    except OSError as error:
        raise _unreadable(file.content, error) from error
    if file.sha256 and read.hexdigest != file.sha256:
        raise OciError(
            f"{file.content} was changed while the container image was packaged", hint="run `eaves package` again"
        )


class _HashingReader:
    """A reader that hashes the bytes that it reads, so that exactly the bytes that are packed are checked."""

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
    """A writer that passes bytes on to a stream and computes their size and SHA-256."""

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
