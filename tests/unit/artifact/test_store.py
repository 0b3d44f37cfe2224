"""Artifact directories: every way one can be damaged is found, and writing one is all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from eaves.artifact import Artifact, open_artifact, write_artifact
from eaves.artifact.manifest import FileEntry
from eaves.artifact.store import (
    LABELS,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MODEL,
)
from eaves.errors import ArtifactError
from tests.fakes.models.artifact import build_manifest, fill, write_colours

ENTRY = FileEntry(size_bytes=1, sha256="0" * 64)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.mark.parametrize("level", ["structure", "full"])
def test_what_was_written_opens(artifact: Artifact, level: str) -> None:
    opened = open_artifact(artifact.path, level=level)  # type: ignore[arg-type]
    assert opened == artifact
    assert opened.digest == opened.manifest.digest()
    assert opened.model_path.read_bytes() == b"not really a graph"
    assert opened.size_bytes == sum(path.stat().st_size for path in artifact.path.rglob("*.*")) - len(
        (artifact.path / MANIFEST).read_bytes()
    )


def remove(path: Path) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path


def link(path: Path, outside: Path) -> Path:
    """Put what lies at `path` outside and a symbolic link in its place."""
    path.rename(outside)
    path.symlink_to(outside)
    return outside


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no directory": (lambda at, out: remove(at), "is not an artifact"),
    "a directory as manifest": (lambda at, out: os.mkdir(remove(at / MANIFEST)), "is not an artifact"),  # noqa: PTH102
    "a huge manifest": (lambda at, out: os.truncate(at / MANIFEST, MAX_MANIFEST_BYTES + 1), "larger than"),
    "no model": (lambda at, out: remove(at / MODEL), "model.onnx is missing"),
    "a directory as labels": (
        lambda at, out: remove(at / LABELS).mkdir(),
        "labels.txt is not a regular file",
    ),
    "a short file": (lambda at, out: os.truncate(at / "weights/backbone.bin", 4999), "has 4999 bytes.* says 5000"),
    "a link as a file": (lambda at, out: link(at / MODEL, out), "model.onnx is a symbolic link"),
    "a link as a folder": (lambda at, out: link(at / "weights", out), "weights/backbone.bin is a symbolic link"),
    "a pipe as a file": (lambda at, out: os.mkfifo(remove(at / MODEL)), "model.onnx is not a regular file"),
    "a pipe as manifest": (lambda at, out: os.mkfifo(remove(at / MANIFEST)), "is not an artifact"),
    "a file as a folder": (lambda at, out: remove(at / "golden").write_text(""), "golden"),
}


@pytest.mark.parametrize("level", ["structure", "full"])
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_and_named(artifact: Artifact, tmp_path: Path, case: str, level: str) -> None:
    damage, message = DAMAGE[case]
    damage(artifact.path, tmp_path / "outside")
    with pytest.raises(ArtifactError, match=message):
        open_artifact(artifact.path, level=level)  # type: ignore[arg-type]


FOREIGN = [
    "evil.so",
    "weights/deep/a.bin",
    "golden/deep/000.png",
    "MODEL.ONNX",
    "__init__.py",
    "manifest.json",
]


def listing(path: Path, files: dict[str, FileEntry]) -> Path:
    """The artifact at `path`, its manifest listing more."""
    values = json.loads((path / MANIFEST).read_bytes())
    values["files"].update({name: asdict(entry) for name, entry in files.items()})
    (path / MANIFEST).write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_part_of_an_artifact_is_refused_though_listed(artifact: Artifact, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"lists {name}, which no artifact may contain"):
        open_artifact(listing(artifact.path, {name: ENTRY}))


HUGE = {
    MODEL: 2**28 + 1,
    "weights/backbone.bin": 2**31,
    "handler.py": 2**20 + 1,
}


@pytest.mark.parametrize("name", HUGE)
def test_sizes_are_bounded_before_anything_is_read(artifact: Artifact, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"{name} has {HUGE[name]} bytes; at most"):
        open_artifact(listing(artifact.path, {name: replace(ENTRY, size_bytes=HUGE[name])}))


@pytest.mark.parametrize("name", [MODEL, "golden/golden.json"])
def test_a_flipped_bit_is_found_at_full_only(artifact: Artifact, name: str) -> None:
    flip(artifact.path / name)
    open_artifact(artifact.path)
    with pytest.raises(ArtifactError, match=f"{name} doesn't match its sha256") as caught:
        open_artifact(artifact.path, level="full")
    assert "convert the run again" in (caught.value.hint or "")


def test_other_users_may_read_an_artifact(tmp_path: Path) -> None:
    """A container runs as a user that doesn't own the files; a staging directory made by mkdtemp is private."""
    staging = fill(tmp_path / "staging")
    staging.chmod(0o700)
    path = write_artifact(staging, tmp_path / "artifact", build_manifest(staging)).path
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_manifest_that_does_not_fit_its_files_is_never_renamed_into_place(tmp_path: Path) -> None:
    staging = fill(tmp_path / "staging")
    manifest = build_manifest(staging)
    (staging / LABELS).write_text("something else entirely\n")
    with pytest.raises(ArtifactError, match=r"labels\.txt"):
        write_artifact(staging, tmp_path / "artifact", manifest)
    assert not (tmp_path / "artifact").exists()
