"""Artifact directories: every way one can be damaged is found, and writing one is all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.artifact import Artifact, open_artifact, write_artifact
from eaves.artifact.store import LABELS, MANIFEST, MAX_MANIFEST_BYTES, MODEL, discard, file_digest, file_entries
from eaves.errors import ArtifactError
from tests.fakes.artifact import build_manifest, fill, write_colours


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


def test_the_same_content_has_the_same_digest_wherever_it_lies(artifact: Artifact, tmp_path: Path) -> None:
    assert write_colours(tmp_path / "deep" / "other").digest == artifact.digest
    assert write_colours(tmp_path / "c", change=lambda at: (at / LABELS).write_text("x\n")).digest != artifact.digest


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
    "a file instead": (lambda at, out: remove(at).write_text("x"), "is not an artifact"),
    "no manifest": (lambda at, out: remove(at / MANIFEST), "is not an artifact"),
    "a directory as manifest": (lambda at, out: os.mkdir(remove(at / MANIFEST)), "is not an artifact"),  # noqa: PTH102
    "an empty manifest": (lambda at, out: (at / MANIFEST).write_bytes(b""), "not JSON"),
    "a huge manifest": (lambda at, out: os.truncate(at / MANIFEST, MAX_MANIFEST_BYTES + 1), "larger than"),
    "no model": (lambda at, out: remove(at / MODEL), "model.onnx is missing"),
    "no weights": (lambda at, out: remove(at / "weights"), "weights/backbone.bin is missing"),
    "a directory as labels": (lambda at, out: os.mkdir(remove(at / LABELS)), "labels.txt is missing"),  # noqa: PTH102
    "a short file": (lambda at, out: os.truncate(at / "weights/backbone.bin", 4999), "has 4999 bytes.* says 5000"),
    "a long file": (lambda at, out: (at / LABELS).write_text("a\n" * 99), "has 198 bytes"),
    "a link as a file": (lambda at, out: link(at / MODEL, out), "model.onnx is a symbolic link"),
    "a dangling link": (lambda at, out: remove(link(at / MODEL, out)), "model.onnx is a symbolic link"),
    "a link as a folder": (lambda at, out: link(at / "weights", out), "weights/backbone.bin is a symbolic link"),
    "a file as a folder": (lambda at, out: remove(at / "golden").write_text(""), "golden"),
}


@pytest.mark.parametrize("level", ["structure", "full"])
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_and_named(artifact: Artifact, tmp_path: Path, case: str, level: str) -> None:
    damage, message = DAMAGE[case]
    damage(artifact.path, tmp_path / "outside")
    with pytest.raises(ArtifactError, match=message):
        open_artifact(artifact.path, level=level)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [MODEL, LABELS, "weights/backbone.bin", "golden/000.png", "golden/golden.json"])
def test_a_flipped_bit_is_found_at_full_only(artifact: Artifact, name: str) -> None:
    flip(artifact.path / name)
    open_artifact(artifact.path)
    with pytest.raises(ArtifactError, match=f"{name} doesn't match its sha256") as caught:
        open_artifact(artifact.path, level="full")
    assert "convert the run again" in (caught.value.hint or "")


@pytest.mark.parametrize("name", [MODEL, LABELS])
def test_an_artifact_without_model_or_labels_is_none(artifact: Artifact, name: str) -> None:
    values = json.loads((artifact.path / MANIFEST).read_bytes())
    del values["files"][name]
    (artifact.path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=f"lists no {name}"):
        open_artifact(artifact.path)


def test_a_path_outside_the_artifact_is_never_looked_at(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    values = json.loads((artifact.path / MANIFEST).read_bytes())
    values["files"]["../secret"] = {"size_bytes": 1, "sha256": file_digest(tmp_path / "secret")}
    (artifact.path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="may leave the artifact"):
        open_artifact(artifact.path)


def test_other_users_may_read_an_artifact(tmp_path: Path) -> None:
    """A container runs as a user that doesn't own the files; a staging directory made by mkdtemp is private."""
    staging = fill(tmp_path / "staging")
    staging.chmod(0o700)
    path = write_artifact(staging, tmp_path / "artifact", build_manifest(staging)).path
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask


def test_an_existing_target_is_not_touched(artifact: Artifact, tmp_path: Path) -> None:
    staging = fill(tmp_path / "staging")
    with pytest.raises(ArtifactError, match="exists already"):
        write_artifact(staging, artifact.path, build_manifest(staging))
    assert open_artifact(artifact.path, level="full") == artifact


def test_a_target_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    staging = fill(tmp_path / "staging")
    target = tmp_path / "nowhere" / "artifact"
    with pytest.raises(ArtifactError, match="can't be written"):
        write_artifact(staging, target, build_manifest(staging))
    assert not target.exists()


def test_a_manifest_that_does_not_fit_its_files_is_never_renamed_into_place(tmp_path: Path) -> None:
    staging = fill(tmp_path / "staging")
    manifest = build_manifest(staging)
    (staging / LABELS).write_text("something else entirely\n")
    with pytest.raises(ArtifactError, match=r"labels\.txt"):
        write_artifact(staging, tmp_path / "artifact", manifest)
    assert not (tmp_path / "artifact").exists()


def test_entries_are_sorted_and_leave_the_manifest_out(artifact: Artifact) -> None:
    entries = file_entries(artifact.path)
    assert list(entries) == [
        *("golden/000.png", "golden/001.png", "golden/002.png", "golden/golden.json"),
        *("labels.txt", "model.onnx", "weights/backbone.bin"),
    ]
    assert entries["weights/backbone.bin"].size_bytes == 5000


def test_discarding_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    discard(fill(tmp_path / "staging"))
    discard(tmp_path / "staging")
    assert list(tmp_path.iterdir()) == []
