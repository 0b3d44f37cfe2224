"""Artifact directories: open one with the checks that its use needs, or write one completely or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eaves.artifact.manifest import FileEntry, Manifest, parse_manifest
from eaves.artifact.permitted_files import (
    LABELS,
    MANIFEST,
    MODEL,
    check_content,
    check_file,
    check_tree,
    file_digest,
    kind_of,
)
from eaves.base.files import rename_durably
from eaves.errors import ArtifactError

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
"""Maximum size of manifest.json, bytes. It names every label and every file; 100,000 labels fit."""

__all__ = [
    "LABELS",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "MODEL",
    "Artifact",
    "Level",
    "file_digest",
    "file_entries",
    "open_artifact",
    "write_artifact",
]

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
    content = _read_manifest(path)
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
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes private directories, and a container's user is not the owner
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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _read_manifest(path: Path) -> bytes:
    file = path / MANIFEST
    hint = "make an artifact from a run with `eaves convert`"
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):  # check before opening: reading a pipe would block for ever
            raise ArtifactError(f"{path} is not an artifact: {MANIFEST} is {kind_of(status.st_mode)}", hint=hint)
        if status.st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{file} is larger than {MAX_MANIFEST_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} is not an artifact: {MANIFEST} can't be read ({error.strerror})", hint=hint
        ) from error
