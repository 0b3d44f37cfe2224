"""Golden images: whatever differs, in the recipe's half or in the model's, is found and named."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from eaves.artifact import Artifact, Predict, check, load_golden, replay
from eaves.artifact.golden import INDEX, difference
from eaves.errors import ArtifactError, GoldenError
from eaves.recipe import Recipe
from tests.fakes.models.artifact import RECIPE, ColourSession, write_colours

Floats = npt.NDArray[np.float32]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def with_recipe(artifact: Artifact, recipe: Recipe) -> Artifact:
    return replace(artifact, manifest=replace(artifact.manifest, recipe=recipe))


def test_another_tensor_is_found_before_the_model_runs(artifact: Artifact) -> None:
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
def test_a_model_that_answers_differently_is_found(artifact: Artifact, case: str, half: str) -> None:
    with pytest.raises(GoldenError, match=rf"golden/000.png: .*{half}"):
        check(artifact, answering(CHANGES[case], half))


def test_a_wide_tolerance_of_logits_never_allows_every_probability(artifact: Artifact) -> None:
    wide = replace(artifact, manifest=replace(artifact.manifest, golden_tolerance=5.0))
    result = replay(wide, answering(lambda logits: logits + np.float32(4), "logits"), load_golden(wide)[0])
    assert (result.ok, result.allowed_logits, result.allowed_probabilities) == (True, 5.0, 1.0)
    assert result.logits == pytest.approx(4)


def test_a_stored_tensor_stands_in_for_a_handler(tmp_path: Path) -> None:
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
def test_a_tensor_that_is_no_plain_array_is_refused_unread(tmp_path: Path, kind: str) -> None:
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
def test_a_malformed_index_is_an_artifact_error(tmp_path: Path, case: str) -> None:
    damaged = write_colours(tmp_path / "a", change=lambda at: rewrite(at, BAD_INDEX[case]))
    with pytest.raises(ArtifactError):
        load_golden(damaged)


@pytest.mark.parametrize("there", ["a list", "a link", "a pipe"])
def test_an_index_that_the_manifest_does_not_list_is_never_read(artifact: Artifact, there: str) -> None:
    files = {name: entry for name, entry in artifact.manifest.files.items() if name != INDEX}
    at = artifact.path / INDEX
    if there != "a list":
        content = at.read_bytes()
        at.unlink()
        (artifact.path.parent / "secret.json").write_bytes(content)
        os.mkfifo(at) if there == "a pipe" else at.symlink_to(artifact.path.parent / "secret.json")
    with pytest.raises(ArtifactError, match=r"lists no golden/golden.json"):
        load_golden(replace(artifact, manifest=replace(artifact.manifest, files=files)))


def test_further_outputs_are_compared_by_the_largest_of_them() -> None:
    assert difference(np.array([[[1000.0], [3.0]]], np.float32), [1000, 2]) == pytest.approx(1e-3)
    assert difference(np.array([[0.25, 0.0]]), [0.0, 0.0]) == 0.25
    assert difference(np.array([[7]]), [8]) == pytest.approx(1 / 8)
    assert difference(np.zeros((1, 0)), []) == 0
