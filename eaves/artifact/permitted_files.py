"""Names, kinds and sizes of files that an artifact directory may hold. Every other file is refused.

An artifact comes from elsewhere and may be hostile. No function here opens a file before its kind and size are known,
and none follows a symbolic link.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact.manifest import VARIANTS, FileEntry, Manifest
from eaves.artifact.targets import TARGETS
from eaves.errors import ArtifactError

MANIFEST = "manifest.json"
MODEL = "model.onnx"
LABELS = "labels.txt"
HANDLER = "handler.py"
MAX_HANDLER_BYTES = 1024 * 1024
"""Maximum size of handler.py, bytes; people write it by hand."""

_MIB = 1024 * 1024
MAX_FILES = 1000
"""Maximum number of files that a manifest lists: the few files of the model, its golden cases and its variants."""
MAX_GOLDEN_FILES = 201
"""Maximum number of golden files: the index, and a hundred cases with one stored tensor each. More would make every
start slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermittedFile:
    """One kind of file and its location in the artifact.

    Attributes:
        pattern: Pattern of the file's path.
        max_bytes: Maximum size of the file, bytes.
    """

    pattern: re.Pattern[str]
    max_bytes: int


def _place(pattern: str, max_bytes: int) -> PermittedFile:
    return PermittedFile(pattern=re.compile(pattern), max_bytes=max_bytes)


_GRAPH_BYTES = 256 * _MIB  # a graph without its weights has about 100 KB; protobuf's limit is 2 GiB
_WEIGHT_BYTES = 2**31 - 1  # maximum that onnxruntime maps on every platform
_VARIANT = f"{VARIANTS}/({'|'.join(TARGETS)})"
PLACES = (
    _place(re.escape(MODEL), _GRAPH_BYTES),
    _place(r"weights/[^/]+\.bin", _WEIGHT_BYTES),
    _place(rf"{_VARIANT}/model\.onnx", _GRAPH_BYTES),
    _place(rf"{_VARIANT}/[^/]+\.bin", _WEIGHT_BYTES),
    _place(re.escape(LABELS), 16 * _MIB),  # 100,000 labels of 160 bytes
    _place(r"golden/[^/]+", 64 * _MIB),  # an image, a tensor of 4096 x 4096 x 3 bytes, or the index
    _place(re.escape(HANDLER), MAX_HANDLER_BYTES),
    _place(r"LICENSE[^/]*", _MIB),
)
"""Every kind of file that a manifest may list, with its location and maximum size. manifest.json itself is not
listed."""

_DAMAGED = "the artifact is damaged: copy it again or convert the run again"


def check_tree(root: Path, manifest: Manifest) -> None:
    """Check that a manifest lists every required file and only permitted ones.

    Raises:
        ArtifactError: When a file is not permitted, too large or missing from the list; the message names the first
            one.
    """
    for required in (MODEL, LABELS):
        if required not in manifest.files:
            raise ArtifactError(f"{root}: manifest.json lists no {required}")
    for name, entry in manifest.files.items():
        place = next((place for place in PLACES if place.pattern.fullmatch(name)), None)
        if place is None:
            raise ArtifactError(
                f"{root}: manifest.json lists {name}, which no artifact may contain",
                hint="convert the run again; don't use an artifact that contains foreign files",
            )
        if entry.size_bytes > place.max_bytes:
            raise ArtifactError(f"{root}: {name} has {entry.size_bytes} bytes; at most {place.max_bytes} are allowed")
    golden = sum(name.startswith("golden/") for name in manifest.files)
    if golden > MAX_GOLDEN_FILES or len(manifest.files) > MAX_FILES:
        raise ArtifactError(
            f"{root}: manifest.json lists {len(manifest.files)} files, {golden} of them golden; "
            f"at most {MAX_FILES} and {MAX_GOLDEN_FILES} are allowed"
        )


def check_file(root: Path, name: str, entry: FileEntry) -> None:
    """Check that a listed file exists, is a plain file and has the size that the manifest says.

    Raises:
        ArtifactError: When a check fails.
    """
    path = root / name
    try:
        # Check each parent directory as well: a symlinked directory leads outside the artifact too.
        if any(part.is_symlink() for part in [path, *path.parents][: len(Path(name).parts)]):
            raise ArtifactError(
                f"{root}: {name} is a symbolic link; an artifact may hold plain files only", hint=_DAMAGED
            )
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(f"{root}: {name} is missing", hint=_DAMAGED) from error
    except OSError as error:
        raise ArtifactError(f"{root}: {name} can't be read: {error.strerror}", hint=_DAMAGED) from error
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{root}: {name} is {kind_of(status.st_mode)}, not a regular file", hint=_DAMAGED)
    if status.st_size != entry.size_bytes:
        raise ArtifactError(
            f"{root}: {name} has {status.st_size} bytes, but the manifest says {entry.size_bytes}", hint=_DAMAGED
        )


def check_content(root: Path, manifest: Manifest) -> None:
    """Check everything that needs reading the files: digests, unlisted files, hard links and labels.

    Raises:
        ArtifactError: When a check fails; the message names the first fault.
    """
    _check_nothing_else(root, manifest)
    name = MANIFEST
    try:
        _check_one_name(root, name)
        for name, entry in manifest.files.items():
            _check_one_name(root, name)
            if file_digest(root / name) != entry.sha256:
                raise ArtifactError(f"{root}: {name} doesn't match its sha256 in the manifest", hint=_DAMAGED)
        name = LABELS
        labels = (root / name).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{root}: {name} can't be read: {error.strerror}", hint=_DAMAGED) from error
    if labels != "".join(f"{label}\n" for label in manifest.labels).encode():
        raise ArtifactError(f"{root}: {LABELS} and manifest.json list different labels", hint="convert the run again")


def _check_one_name(root: Path, name: str) -> None:
    if (root / name).lstat().st_nlink != 1:
        raise ArtifactError(
            f"{root}: {name} has more than one hard link, so it can be changed through another name",
            hint=f"copy the artifact with `cp -r {root} DIRECTORY`, and use the copy",
        )


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def kind_of(mode: int) -> str:
    """Return the kind of a file that isn't a plain file, in words for a message, such as `a folder`."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")


def _check_nothing_else(root: Path, manifest: Manifest) -> None:
    listed = {MANIFEST, *manifest.files}
    folders = {parent.as_posix() for name in manifest.files for parent in Path(name).parents}
    for name in _walk(root):
        if name not in listed and name not in folders:
            raise ArtifactError(f"{root}: {name} is not listed in manifest.json", hint=f"rm -r {root / name}")


def _walk(root: Path) -> Iterator[str]:
    """Return every file and directory below `root`, sorted, without following symbolic links."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield (Path(folder) / name).relative_to(root).as_posix()
