"""Building of layers: tars whose bytes depend only on the names, modes and contents of the files.

Layers are compressed with libdeflate, whose output depends only on its version, which is pinned. Python's own zlib is a
different library in different builds of Python, each with other output. A layer that isn't compressed would be
compressed by other tools that copy it (skopeo, podman), which changes its digest.

Source: OCI image-spec, layer.md; POSIX.1-2001 pax for long names.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from eaves.errors import OciError
from eaves.oci.descriptor import LAYER_GZIP, Descriptor, build_descriptor, parse_descriptor
from eaves.oci.layout import HashedStream, Layout, verified

TITLE = "org.opencontainers.image.title"
"""Annotation with the title of a layer, for display."""
GLIBC = "dev.eaves.glibc"
"""Annotation of a layer with a version of glibc such as `2.36`: of `standard library`, the base's; of `packages`, the
oldest that all wheels run on."""
FAST, SMALL = 1, 9
"""Compression levels: FAST for model files, which a higher level hardly makes smaller (int8 weights shrink by 20 %),
and SMALL for code."""
ALTERED_HINT = "the container image was altered or damaged; package and push it again"


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


def write_layer(layout: Layout, files: Iterable[LayerFile], title: str, *, level: int = FAST, glibc: str = "") -> Layer:
    """Write a layer to a layout.

    Args:
        layout: Layout that receives the content.
        files: Files in any order; their folders are added.
        title: Title of the layer.
        level: Compression level.
        glibc: Value of the annotation GLIBC; empty for none.

    Raises:
        OciError: When a file can't be read or doesn't match its `sha256`, two files have the same path, or the disk is
            full.
    """
    ordered = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    _check(ordered)
    compressor()
    import deflate

    buffer = io.BytesIO()
    _write_tar(buffer, ordered)
    plain = buffer.getbuffer()
    content = bytes(deflate.gzip_compress(plain, level))
    annotations = {TITLE: title, **({GLIBC: glibc} if glibc else {})}
    descriptor = build_descriptor(content, LAYER_GZIP, **annotations)
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
        parents = [folder for file in files for folder in reversed(PurePosixPath(file.path).parents[:-1])]
        for folder in dict.fromkeys(parents):
            info = tarfile.TarInfo(str(folder))
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for file in files:
            _add(tar, file)


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
            read = HashedStream(stream)  # exactly the bytes that are packed are checked
            tar.addfile(info, read)
    except OSError as error:
        raise OciError(f"{file.content} can't be read or packed: {error.strerror or error}") from error
    if file.sha256 and read.digest != f"sha256:{file.sha256}":
        raise OciError(
            f"{file.content} was changed while the container image was packaged", hint="run `eaves package` again"
        )


@contextmanager
def read_layer(path: Path, layer: Descriptor) -> Iterator[tarfile.TarFile]:
    """Open a layer of somebody else's container image as a tar, whose members are read in their order.

    Raises:
        OciError: When the layer is no tar that Python can read, such as one compressed with zstd.
    """
    try:
        with tarfile.open(path, mode="r|*") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise OciError(f"the layer {layer.digest} can't be read: {error}"[:300], hint=ALTERED_HINT) from error


def kept_layer(cache: Layout, parts: tuple[str | bytes, ...], make: Callable[[], Layer]) -> Layer:
    """Return a layer from the cache, or make it and add it.

    Args:
        cache: Layout with the cached layers, which also has a file for each key.
        parts: Everything that the layer is made from, except the tar format and the compressor, which are added here.
        make: Function that makes the layer and writes it to the cache.

    Raises:
        OciError: When the layer can't be made.
    """
    seen = hashlib.sha256()
    for part in (compressor(), Path(__file__).read_bytes(), *parts):
        content = part.encode() if isinstance(part, str) else part
        seen.update(len(content).to_bytes(8, "big") + content)
    key = seen.hexdigest()
    found = _find(cache, key)
    if found is not None:
        return found
    made = make()
    values = {"descriptor": made.descriptor.to_dict(), "diff_id": made.diff_id, "title": made.title}
    cache.write_file(f"{key}.json", json.dumps(values).encode())
    return made


def _find(cache: Layout, key: str) -> Layer | None:
    """Return the cached layer for a key; None when there is none or when it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, OciError):
        values = json.loads((cache.path / f"{key}.json").read_bytes())
        found = Layer(
            descriptor=parse_descriptor(values["descriptor"]),
            diff_id=str(values["diff_id"]),
            title=str(values["title"]),
        )
        with cache.open(found.descriptor) as stream:
            for _ in verified(stream, found.descriptor):
                pass
        return found
    return None
