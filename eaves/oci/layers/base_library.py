"""The standard library in a base's layers, read without unpacking them to disk."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from eaves.errors import StandardLibraryError
from eaves.oci.descriptor import Descriptor
from eaves.oci.layers.image import Image
from eaves.oci.layers.standard_library import LEFT_OUT, StandardLibrary
from eaves.oci.signal_handling import scratch_folder
from eaves.oci.store.content_store import ContentSource
from eaves.oci.store.layout import create_layout

MAX_FILES, MAX_BYTES = 1_000_000, 16 * 2**30
"""Maximum numbers of files and bytes in a layer that is read."""
MAX_SOURCE_BYTES, MAX_SOURCES_BYTES = 4 * 2**20, 64 * 2**20
"""Maximum bytes of one source and of all that are kept; a whole standard library has 20 MB, its largest source 0.7 MB.
A source takes some hundred times its size in memory while it is parsed."""
OFFICIAL = "usr/local/"
"""Folder above the standard library of an official image of Python; its `python` is the one that PATH finds first."""
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
"""Names that mark a removed file and a folder whose lower content is hidden. Source: OCI image-spec, layer.md."""


@dataclass(slots=True)
class _Found:
    """What the layers that were read so far, from the top, contain and hide.

    Attributes:
        sources: Source of each module by its path in the container.
        hidden: Paths that an upper layer replaces or removes, with everything below them.
        size: Bytes of the sources.
    """

    sources: dict[str, bytes] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    size: int = 0


def find_standard_library(
    source: ContentSource, image: Image, python: str, say: Callable[[str], object] = lambda text: None
) -> StandardLibrary:
    """Find the standard library of a base.

    Layers are fetched from the top, and only down to the one that contains `os.py` below usr/local: an official
    container image of Python has its standard library above the layers of Debian. A library elsewhere counts when no
    layer has that one, because a package of Debian may bring another Python into an upper layer.

    Args:
        source: Source of the base.
        image: The base for one platform.
        python: Version of its Python, such as `3.13`.
        say: Function that is called with each line of progress.

    Raises:
        StandardLibraryError: When no layer contains it, or a layer can't be read.
        OciError: When a layer can't be fetched, or the disk is full.
    """
    place = re.compile(rf"(?P<root>(?:[\w.+-]+/)*lib/python{re.escape(python)})/(?P<path>.+)")
    found = _Found()
    with scratch_folder("eaves-base-") as folder:
        layout = create_layout(folder / "layout")
        for layer in reversed(image.layers):
            say(f"reading the base's layer {layer.digest[7:19]}, {layer.size / 1e6:.1f} MB, for its standard library")
            layout.write(layer, source)
            _read(layout.blob_path(layer.digest), layer, place, found)
            if _root_of(found, place).startswith(OFFICIAL):
                break
    if not (root := _root_of(found, place)):
        raise StandardLibraryError(
            f"no layer of the base contains lib/python{python}/os.py", hint="use an official image of Python"
        )
    below = {path.removeprefix(f"{root}/"): path for path in found.sources if path.startswith(f"{root}/")}
    return StandardLibrary(root=root, sources={name: found.sources[path] for name, path in below.items()})


def _root_of(found: _Found, place: re.Pattern[str]) -> str:
    """Return the folder with `os.py`; that below usr/local when there are several; empty without any."""
    matches = (place.fullmatch(path) for path in found.sources)
    roots = [match["root"] for match in matches if match and match["path"] == "os.py"]
    return min(roots, key=lambda root: (not root.startswith(OFFICIAL), root), default="")


def _read(path: Path, layer: Descriptor, place: re.Pattern[str], found: _Found) -> None:
    """Add the standard library's files of one layer.

    Raises:
        StandardLibraryError: When the layer is no tar that Python can read, such as one compressed with zstd, or it is
            too large.
    """
    hidden: set[str] = set()
    try:
        with tarfile.open(path, mode="r|*") as tar:
            total = 0
            for number, member in enumerate(tar, 1):
                total += member.size
                if number > MAX_FILES or total > MAX_BYTES:
                    raise StandardLibraryError(f"{layer.digest} has more than {MAX_FILES} files or {MAX_BYTES} bytes")
                name = PurePosixPath(member.name).as_posix().removeprefix("/")
                if ".." in PurePosixPath(name).parts:  # sources are compiled below their paths in a temporary folder
                    continue
                hidden |= _hidden_by(name)
                if match := place.fullmatch(name):
                    _add(tar, member, name, match["path"], found)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StandardLibraryError(f"the base's layer {layer.digest} can't be read: {error}"[:300]) from error
    found.hidden |= hidden


def _hidden_by(name: str) -> set[str]:
    """Return the path that a file of a layer hides in the layers below; empty for a usual file."""
    path = PurePosixPath(name)
    if path.name == _OPAQUE:
        return {path.parent.as_posix()}
    removed = path.name.removeprefix(_WHITEOUT)
    return {path.with_name(removed).as_posix()} if removed != path.name else set()


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, path: str, found: _Found) -> None:
    file, parents = PurePosixPath(name), {parent.as_posix() for parent in PurePosixPath(name).parents}
    if not member.isfile() or file.suffix != ".py" or file.name.startswith(_WHITEOUT) or name in found.sources:
        return
    if LEFT_OUT & {*PurePosixPath(path).parts} or found.hidden & {name, *parents}:
        return
    if member.size > MAX_SOURCE_BYTES:
        raise StandardLibraryError(f"{name} in the base has more than {MAX_SOURCE_BYTES} bytes")
    found.size += member.size
    if found.size > MAX_SOURCES_BYTES:
        raise StandardLibraryError(f"the base's standard library has more than {MAX_SOURCES_BYTES} bytes")
    stream = tar.extractfile(member)
    found.sources[name] = stream.read() if stream is not None else b""
