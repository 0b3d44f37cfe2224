"""Artifact directories: every way one can be damaged is found and named, golden images and all."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from eaves.artifact import Artifact, Predict, check, load_golden, open_artifact, replay, write_artifact
from eaves.artifact.golden import INDEX, difference
from eaves.artifact.manifest import FileEntry
from eaves.artifact.store import (
    LABELS,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MODEL,
)
from eaves.errors import ArtifactError, GoldenError
from eaves.recipe import Recipe
from tests.fakes.models.artifact import RECIPE, ColourSession, build_manifest, fill, write_colours

ENTRY = FileEntry(size_bytes=1, sha256="0" * 64)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.mark.parametrize("level", ["structure", "full"])
def test_what_was_written_opens(artifact: Artifact, level: str):
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
def test_damage_is_found_and_named(artifact: Artifact, tmp_path: Path, case: str, level: str):
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
def test_a_file_that_is_no_part_of_an_artifact_is_refused_though_listed(artifact: Artifact, name: str):
    with pytest.raises(ArtifactError, match=f"lists {name}, which no artifact may contain"):
        open_artifact(listing(artifact.path, {name: ENTRY}))


HUGE = {
    MODEL: 2**28 + 1,
    "weights/backbone.bin": 2**31,
    "handler.py": 2**20 + 1,
}


@pytest.mark.parametrize("name", HUGE)
def test_sizes_are_bounded_before_anything_is_read(artifact: Artifact, name: str):
    with pytest.raises(ArtifactError, match=f"{name} has {HUGE[name]} bytes; at most"):
        open_artifact(listing(artifact.path, {name: replace(ENTRY, size_bytes=HUGE[name])}))


@pytest.mark.parametrize("name", [MODEL, "golden/golden.json"])
def test_a_flipped_bit_is_found_at_full_only(artifact: Artifact, name: str):
    flip(artifact.path / name)
    open_artifact(artifact.path)
    with pytest.raises(ArtifactError, match=f"{name} doesn't match its sha256") as caught:
        open_artifact(artifact.path, level="full")
    assert "convert the run again" in (caught.value.hint or "")


def test_other_users_may_read_an_artifact(tmp_path: Path):
    """A container runs as a user that doesn't own the files; a staging directory made by mkdtemp is private."""
    staging = fill(tmp_path / "staging")
    staging.chmod(0o700)
    path = write_artifact(staging, tmp_path / "artifact", build_manifest(staging)).path
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_manifest_that_does_not_fit_its_files_is_never_renamed_into_place(tmp_path: Path):
    staging = fill(tmp_path / "staging")
    manifest = build_manifest(staging)
    (staging / LABELS).write_text("something else entirely\n")
    with pytest.raises(ArtifactError, match=r"labels\.txt"):
        write_artifact(staging, tmp_path / "artifact", manifest)
    assert not (tmp_path / "artifact").exists()


Floats = npt.NDArray[np.float32]


def with_recipe(artifact: Artifact, recipe: Recipe) -> Artifact:
    return replace(artifact, manifest=replace(artifact.manifest, recipe=recipe))


def test_another_tensor_is_found_before_the_model_runs(artifact: Artifact):
    other = with_recipe(artifact, replace(artifact.manifest.image_recipe, height=9))
    with pytest.raises(GoldenError, match=r"golden/000.png: this machine decodes it to another input tensor"):
        check(other, lambda batch: pytest.fail("the model ran"))


CHANGES: dict[str, Callable[[Floats], Floats]] = {
    "other logits": lambda logits: logits + np.float32(0.01),
    "not a number": lambda logits: logits * np.float32("nan"),
    "one output fewer": lambda logits: logits[:, :2],
    "no batch": lambda logits: logits[:0],
}


def answering(change: Callable[[Floats], Floats], half: str) -> Predict:
    """A model whose logits or probabilities are changed."""

    def predict(batch: npt.NDArray[Any]) -> Mapping[str, Floats]:
        outputs = ColourSession().answer(batch)
        return {**outputs, half: change(outputs[half])}

    return predict


@pytest.mark.parametrize("half", ["logits", "probabilities"])
@pytest.mark.parametrize("case", CHANGES)
def test_a_model_that_answers_differently_is_found(artifact: Artifact, case: str, half: str):
    with pytest.raises(GoldenError, match=rf"golden/000.png: .*{half}"):
        check(artifact, answering(CHANGES[case], half))


def test_a_wide_tolerance_of_logits_never_allows_every_probability(artifact: Artifact):
    wide = replace(artifact, manifest=replace(artifact.manifest, golden_tolerance=5.0))
    result = replay(wide, answering(lambda logits: logits + np.float32(4), "logits"), load_golden(wide)[0])
    assert (result.ok, result.allowed_logits, result.allowed_probabilities) == (True, 5.0, 1.0)
    assert result.logits == pytest.approx(4)


def test_a_stored_tensor_stands_in_for_a_handler(tmp_path: Path):
    stored = write_colours(tmp_path / "a", change=store_tensors)
    (stored.path / "golden/000.png").write_bytes(b"only the handler reads it")
    assert check(stored, ColourSession().answer) == 3
    with pytest.raises(GoldenError, match="another input tensor"):
        check(stored, ColourSession().answer, prepare=lambda data: np.zeros((8, 8, 3), np.uint8))


def store_tensors(at: Path) -> None:
    """Beside each golden image the tensor that comes of it."""
    entries = json.loads((at / INDEX).read_text())
    for entry in entries:
        entry["tensor"] = entry["file"].replace(".png", ".npy")
        np.save(at / entry["tensor"], RECIPE.tensor((at / entry["file"]).read_bytes()))
    (at / INDEX).write_text(json.dumps(entries))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "object array", "text", "empty", "huge header", "npz"])
def test_a_tensor_that_is_no_plain_array_is_refused_unread(tmp_path: Path, kind: str):
    trap, stream = tmp_path / "sprung", io.BytesIO()
    if kind == "object array":
        np.save(stream, np.array([Trap(trap)], dtype=object), allow_pickle=True)
    elif kind == "npz":
        np.savez(stream, a=np.zeros(3))
    content = {
        "pickle": pickle.dumps(Trap(trap)),
        "text": b"hello",
        "empty": b"",
        "huge header": b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999,), }"
        + b" " * 50
        + b"\n",
    }.get(kind, stream.getvalue())

    def spring(at: Path) -> None:
        store_tensors(at)
        (at / "golden/000.npy").write_bytes(content)

    damaged = write_colours(tmp_path / "a", change=spring)
    with pytest.raises(ArtifactError, match=r"golden/000.npy is not a plain .npy tensor"):
        check(damaged, ColourSession().answer)
    assert not trap.exists()


def rewrite(path: Path, change: Callable[[list[Any]], object]) -> None:
    entries = json.loads((path / INDEX).read_text())
    change(entries)
    (path / INDEX).write_text(json.dumps(entries))


BAD_INDEX: dict[str, Callable[[list[Any]], object]] = {
    "no file": lambda entries: entries[0].pop("file"),
    "a file outside": lambda entries: entries[0].update(file="../secret.png"),
    "a file that the manifest doesn't list": lambda entries: entries[0].update(file="golden/other.png"),
    "a label that colours the terminal": lambda entries: entries[0].update(label="\x1b[31mred"),
    "logits as text": lambda entries: entries[0]["outputs"].update(logits=["x"]),
    "a tensor outside": lambda entries: entries[0].update(tensor="/etc/passwd"),
    "an entry as text": lambda entries: entries.insert(0, "x"),
}


@pytest.mark.parametrize("case", BAD_INDEX)
def test_a_malformed_index_is_an_artifact_error(tmp_path: Path, case: str):
    damaged = write_colours(tmp_path / "a", change=lambda at: rewrite(at, BAD_INDEX[case]))
    with pytest.raises(ArtifactError):
        load_golden(damaged)


@pytest.mark.parametrize("there", ["a list", "a link", "a pipe"])
def test_an_index_that_the_manifest_does_not_list_is_never_read(artifact: Artifact, there: str):
    files = {name: entry for name, entry in artifact.manifest.files.items() if name != INDEX}
    at = artifact.path / INDEX
    if there != "a list":
        content = at.read_bytes()
        at.unlink()
        (artifact.path.parent / "secret.json").write_bytes(content)
        os.mkfifo(at) if there == "a pipe" else at.symlink_to(artifact.path.parent / "secret.json")
    with pytest.raises(ArtifactError, match=r"lists no golden/golden.json"):
        load_golden(replace(artifact, manifest=replace(artifact.manifest, files=files)))


def test_further_outputs_are_compared_by_the_largest_of_them():
    assert difference(np.array([[[1000.0], [3.0]]], np.float32), [1000, 2]) == pytest.approx(1e-3)
    assert difference(np.array([[0.25, 0.0]]), [0.0, 0.0]) == 0.25
    assert difference(np.array([[7]]), [8]) == pytest.approx(1 / 8)
    assert difference(np.zeros((1, 0)), []) == 0
