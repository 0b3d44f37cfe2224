"""Golden images: whatever differs, in the recipe's half or in the model's, is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from eaves.artifact import Artifact, check, load_golden
from eaves.artifact.golden import INDEX, tensor_digest
from eaves.errors import ArtifactError, GoldenError
from eaves.recipe import Recipe
from tests.fakes.artifact import COLOURS, ColourSession, encode_png, write_colours

Floats = npt.NDArray[np.float32]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def with_recipe(artifact: Artifact, recipe: Recipe) -> Artifact:
    return replace(artifact, manifest=replace(artifact.manifest, recipe=recipe))


def test_a_model_that_answers_as_recorded_passes(artifact: Artifact) -> None:
    assert check(artifact, ColourSession().logits) == 3


def test_only_the_chosen_cases_are_replayed(artifact: Artifact) -> None:
    seen: list[tuple[int, ...]] = []

    def predict(batch: npt.NDArray[Any]) -> Floats:
        seen.append(batch.shape)
        return ColourSession().logits(batch)

    assert check(artifact, predict, load_golden(artifact)[:1]) == 1
    assert seen == [(1, 8, 8, 3)]


def test_another_tensor_is_found_before_the_model_runs(artifact: Artifact) -> None:
    other = with_recipe(artifact, replace(artifact.manifest.recipe, height=9))
    with pytest.raises(GoldenError, match=r"golden/000.png: this machine makes another input tensor"):
        check(other, lambda batch: pytest.fail("the model ran"))


CHANGES: dict[str, Callable[[Floats], Floats]] = {
    "other logits": lambda logits: logits + np.float32(0.01),
    "not a number": lambda logits: logits * np.float32("nan"),
    "without end": lambda logits: logits + np.float32("inf"),
    "one output fewer": lambda logits: logits[:, :2],
    "one output": lambda logits: logits[:, :1],
    "no outputs": lambda logits: logits[:, :0],
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_model_that_answers_differently_is_found(artifact: Artifact, case: str) -> None:
    with pytest.raises(GoldenError, match=r"golden/000.png: "):
        check(artifact, lambda batch: CHANGES[case](ColourSession().logits(batch)))


def test_differences_within_the_tolerance_pass(artifact: Artifact) -> None:
    assert check(artifact, lambda batch: ColourSession().logits(batch) + np.float32(5e-4)) == 3


def rewrite(path: Path, change: Callable[[list[Any]], object]) -> None:
    entries = json.loads((path / INDEX).read_text())
    change(entries)
    (path / INDEX).write_text(json.dumps(entries))


def test_recorded_logits_that_are_no_numbers_never_pass(tmp_path: Path) -> None:
    damaged = write_colours(
        tmp_path / "a",
        change=lambda at: rewrite(at, lambda entries: entries[0].update(logits=[float("nan")] * 3)),
    )
    with pytest.raises((GoldenError, ArtifactError)):
        check(damaged, ColourSession().logits)


def test_a_damaged_golden_image_is_the_artifacts_fault_not_the_senders(artifact: Artifact) -> None:
    (artifact.path / "golden/000.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(GoldenError, match=r"golden/000.png") as caught:
        check(artifact, ColourSession().logits)
    assert caught.value.http_status == 503


def test_a_golden_image_of_something_else_is_found(artifact: Artifact) -> None:
    (artifact.path / "golden/000.png").write_bytes(encode_png((0, 0, 0)))
    with pytest.raises(GoldenError, match="another input tensor"):
        check(artifact, ColourSession().logits)


def test_a_missing_golden_image_is_found(artifact: Artifact) -> None:
    (artifact.path / "golden/000.png").unlink()
    with pytest.raises(ArtifactError, match="can't be read"):
        check(artifact, ColourSession().logits)


def test_no_golden_images_are_no_proof(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="no golden images"):
        check(artifact, ColourSession().logits, [])


def test_the_index_brings_back_what_was_written(artifact: Artifact) -> None:
    cases = load_golden(artifact)
    assert [case.label for case in cases] == list(COLOURS)
    assert [case.to_dict() for case in cases] == json.loads((artifact.path / INDEX).read_text())


BAD_INDEX: dict[str, Callable[[list[Any]], object]] = {
    "no file": lambda entries: entries[0].pop("file"),
    "a file outside": lambda entries: entries[0].update(file="../secret.png"),
    "a file that the manifest doesn't list": lambda entries: entries[0].update(file="golden/other.png"),
    "a file as a number": lambda entries: entries[0].update(file=3),
    "logits as text": lambda entries: entries[0].update(logits=["x"]),
    "logits missing": lambda entries: entries[0].update(logits=None),
    "an entry as text": lambda entries: entries.insert(0, "x"),
}


@pytest.mark.parametrize("case", BAD_INDEX)
def test_a_malformed_index_is_an_artifact_error(tmp_path: Path, case: str) -> None:
    damaged = write_colours(tmp_path / "a", change=lambda at: rewrite(at, BAD_INDEX[case]))
    with pytest.raises(ArtifactError):
        load_golden(damaged)


@pytest.mark.parametrize("content", [b"", b"{", b"3", b"\xff", b"[" * 100_000])
def test_an_index_that_is_no_list_is_an_artifact_error(artifact: Artifact, content: bytes) -> None:
    (artifact.path / INDEX).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"golden.json can't be read"):
        load_golden(artifact)


def test_a_missing_index_is_an_artifact_error(artifact: Artifact) -> None:
    (artifact.path / INDEX).unlink()
    with pytest.raises(ArtifactError, match=r"golden.json can't be read"):
        load_golden(artifact)


def test_the_tensor_digest_is_of_the_values_in_c_order() -> None:
    tensor = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert tensor_digest(tensor) == tensor_digest(np.asfortranarray(tensor))
    assert tensor_digest(tensor) != tensor_digest(tensor[::-1])
