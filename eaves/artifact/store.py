"""Artifact directories: open one with the checks that its use needs, or write one completely or not at all.

An artifact comes from elsewhere and may be hostile. No function here opens a file before its kind and size are known,
none follows a symbolic link, and every file that is no part of an artifact is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eaves.artifact.manifest import FileEntry, Manifest, parse_manifest
from eaves.base.files import rename_durably
from eaves.errors import ArtifactError

MANIFEST = "manifest.json"
MODEL = "model.onnx"
LABELS = "labels.txt"
HANDLER = "handler.py"
MAX_HANDLER_BYTES = 1024 * 1024
"""Maximum size of handler.py, bytes; people write it by hand."""

_MIB = 1024 * 1024
_GRAPH_BYTES = 256 * _MIB  # a graph without its weights has about 100 KB; protobuf's limit is 2 GiB
_WEIGHT_BYTES = 2**31 - 1  # maximum that onnxruntime maps on every platform
PLACES = {
    re.escape(MODEL): _GRAPH_BYTES,
    r"weights/[^/]+\.bin": _WEIGHT_BYTES,
    re.escape(LABELS): 16 * _MIB,  # 100,000 labels of 160 bytes
    r"golden/[^/]+": 64 * _MIB,  # an image, a tensor of 4096 x 4096 x 3 bytes, or the index
    re.escape(HANDLER): MAX_HANDLER_BYTES,
    r"LICENSE[^/]*": _MIB,
}
"""Pattern of the path of every kind of file that a manifest may list, with the maximum size in bytes. manifest.json
itself is not listed."""

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
        max_bytes = next((size for pattern, size in PLACES.items() if re.fullmatch(pattern, name)), None)
        if max_bytes is None:
            raise ArtifactError(
                f"{root}: manifest.json lists {name}, which no artifact may contain",
                hint="convert the run again; don't use an artifact that contains foreign files",
            )
        if entry.size_bytes > max_bytes:
            raise ArtifactError(f"{root}: {name} has {entry.size_bytes} bytes; at most {max_bytes} are allowed")


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
        raise ArtifactError(f"{root}: {name} is not a regular file", hint=_DAMAGED)
    if status.st_size != entry.size_bytes:
        raise ArtifactError(
            f"{root}: {name} has {status.st_size} bytes, but the manifest says {entry.size_bytes}", hint=_DAMAGED
        )


def check_content(root: Path, manifest: Manifest) -> None:
    """Check everything that needs reading the files: digests, unlisted files and labels.

    Raises:
        ArtifactError: When a check fails; the message names the first fault.
    """
    listed = {MANIFEST, *manifest.files}
    folders = {parent.as_posix() for name in manifest.files for parent in Path(name).parents}
    found = (Path(folder, name) for folder, inner, files in os.walk(root) for name in (*inner, *files))
    for name in sorted(path.relative_to(root).as_posix() for path in found):
        if name not in listed | folders:
            raise ArtifactError(f"{root}: {name} is not listed in manifest.json", hint=f"rm -r {root / name}")
    try:
        for name, entry in manifest.files.items():
            if file_digest(root / name) != entry.sha256:
                raise ArtifactError(f"{root}: {name} doesn't match its sha256 in the manifest", hint=_DAMAGED)
        labels = (root / LABELS).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{error.filename} can't be read: {error.strerror}", hint=_DAMAGED) from error
    if labels != "".join(f"{label}\n" for label in manifest.labels).encode():
        raise ArtifactError(f"{root}: {LABELS} and manifest.json list different labels", hint="convert the run again")


def gate_file(artifact: Path) -> Path:
    """Return the path of the file beside an artifact that says whether it is good enough to be deployed."""
    return artifact.with_name(f"{artifact.name}.gate.json")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


MAX_MANIFEST_BYTES = 16 * 1024 * 1024
"""Maximum size of manifest.json, bytes. It names every label and every file; 100,000 labels fit."""

Level = Literal["structure", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An opened artifact.

    Attributes:
        path: Directory of the artifact.
        manifest: The parsed manifest.
        digest: sha256 of manifest.json as stored on disk, hex.
    """

    path: Path
    manifest: Manifest
    digest: str

    @property
    def model_path(self) -> Path:
        """Path of the ONNX graph."""
        return self.path / MODEL

    @property
    def weights_bytes(self) -> int:
        """Size of the graph and its weights, bytes."""
        files = self.manifest.files.items()
        return sum(entry.size_bytes for path, entry in files if path == MODEL or path.startswith("weights/"))

    @property
    def size_bytes(self) -> int:
        """Total size of all files that the manifest lists, bytes."""
        return sum(entry.size_bytes for entry in self.manifest.files.values())


def open_artifact(path: Path, *, level: Level = "structure") -> Artifact:
    """Open an artifact directory.

    Args:
        path: The directory.
        level: `structure` checks the manifest and every file's presence, kind, location and size (what serving needs at
            each start); `full` also recomputes every digest and checks that there are no unlisted files and that
            labels.txt agrees with the manifest (before verifying, packaging and deploying).

    Raises:
        ArtifactError: When a check fails; the message names the first fault, and the hint the fix.
    """
    file, hint = path / MANIFEST, "make an artifact from a run with `eaves convert`"
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):  # check before opening: reading a pipe would block for ever
            raise ArtifactError(f"{path} is not an artifact: {MANIFEST} is not a regular file", hint=hint)
        if status.st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{file} is larger than {MAX_MANIFEST_BYTES} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} is not an artifact: {MANIFEST} can't be read ({error.strerror})", hint=hint
        ) from error
    manifest = parse_manifest(content)
    check_tree(path, manifest)
    for name, entry in manifest.files.items():
        check_file(path, name, entry)
    if level == "full":
        check_content(path, manifest)
    return Artifact(path=path, manifest=manifest, digest=hashlib.sha256(content).hexdigest())


def write_artifact(staging: Path, target: Path, manifest: Manifest) -> Artifact:
    """Turn a staging directory with every file into an artifact: write the manifest, check, sync and rename.

    Args:
        staging: Directory on the same file system as `target`; it is renamed to `target`.
        target: Directory of the artifact; it must not exist.
        manifest: Manifest whose `files` describe the staging directory, see `file_entries`.

    Raises:
        ArtifactError: When the target exists or can't be written, or the manifest doesn't match the files.
    """
    if target.exists():
        raise ArtifactError(f"{target} already exists", hint="name another directory, or remove it")
    (staging / MANIFEST).write_bytes(manifest.to_json())
    staged = open_artifact(staging)
    try:
        mask = os.umask(0o022)
        os.umask(mask)
        staging.chmod(0o777 & ~mask)  # mkdtemp makes private directories, and a container's user is not the owner
        rename_durably(staging, target)
    except OSError as error:
        raise ArtifactError(f"{target} can't be written: {error.strerror}", hint="choose another --output") from error
    return replace(staged, path=target)


def file_entries(root: Path) -> Mapping[str, FileEntry]:
    """Return the size and digest of every file below a directory, by relative path, sorted."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(root).as_posix(): FileEntry(size_bytes=path.stat().st_size, sha256=file_digest(path))
        for path in paths
    }
