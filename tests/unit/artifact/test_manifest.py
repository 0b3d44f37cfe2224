"""The manifest: canonical bytes, and nothing taken on trust when they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.artifact import Manifest, Parity, TensorSpec
from eaves.artifact.manifest import SCHEMA_VERSION, FileEntry, label_output, parse_manifest
from eaves.errors import ArtifactError
from eaves.recipe import Recipe
from tests.fakes.models.artifact import build_manifest, fill


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return build_manifest(fill(tmp_path / "staging"))


def test_the_digest_depends_on_the_content_alone(manifest: Manifest, tmp_path: Path) -> None:
    again = build_manifest(fill(tmp_path / "elsewhere"))
    assert again.digest() == manifest.digest() == parse_manifest(manifest.to_json()).digest()
    assert build_manifest(tmp_path / "elsewhere", version="2").digest() != manifest.digest()
    assert build_manifest(tmp_path / "elsewhere", files={}).digest() != manifest.digest()


def changed(manifest: Manifest, change: Callable[[dict[str, Any]], object]) -> bytes:
    values = json.loads(manifest.to_json())
    change(values)
    return json.dumps(values).replace(": Infinity", ": 1e999").encode()  # JSON has no infinite number but this


DIGEST = "0" * 64
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer schema": (
        lambda it: it.update(schema_version=SCHEMA_VERSION + 1),
        "schema_version",
    ),
    "too few label weights": (
        lambda it: it.update(decision={"label_weights": [1, 0.5]}),
        "decision.label_weights: must be empty, or have one number for each label .got 2 for 3 labels",
    ),
    "recipe with an unknown field": (lambda it: it["recipe"].update(rotate=90), "rotate"),
    "a label that colours the terminal": (
        lambda it: it.update(labels=["\x1b[31mred"]),
        r"labels\[0\]: must be printable",
    ),
    "a label twice": (lambda it: it.update(labels=["a", "b", "a"]), "labels: must be unique .'a' occurs twice"),
    "files as a list": (lambda it: it.update(files=[]), "malformed"),
    "a short digest": (lambda it: it["files"]["labels.txt"].update(sha256="abc"), "64 hex digits"),
    "tolerance that allows all": (lambda it: it["parity"].update(tolerance=1e999), "tolerance"),
    "int8 that never shipped": (lambda it: it.update(precision="int8"), "precision: is int8, but"),
    "an interval the wrong way round": (
        lambda it: it["quantisation"].update(interval_95_fp32=[0.9, 0.1]),
        "must be two numbers, low and high",
    ),
    "a recipe for numbers": (lambda it: it.update(task="tensor"), "recipe must be null where the task is tensor"),
    "features that are no output": (lambda it: it.update(task="embed"), "outputs: must name features"),
    "numbers without outputs": (
        lambda it: it.update(task="tensor", recipe=None, outputs=[]),
        "task: task tensor needs",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_no_manifest_is_refused_and_named(manifest: Manifest, case: str) -> None:
    change, message = CHANGES[case]
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(changed(manifest, change))


def test_a_model_of_numbers_has_no_recipe_and_perhaps_no_labels(manifest: Manifest) -> None:
    tensor = replace(manifest, task="tensor", recipe=None, labels=())
    assert parse_manifest(tensor.to_json()) == tensor
    with pytest.raises(ArtifactError, match="task tensor and takes no images"):
        _ = tensor.image_recipe


LABELS = ("a", "b", "c")
ROWS = TensorSpec(name="rows", shape=(-1, 3))


def test_labels_of_numbers_are_of_one_output() -> None:
    other = TensorSpec(name="other", shape=(-1, 2))
    assert label_output(LABELS, (other, ROWS)) == "rows"
    assert label_output((), (ROWS,)) == ""
    for outputs in ((other,), (ROWS, replace(ROWS, name="again"))):
        with pytest.raises(ArtifactError, match=r"3 labels, but [02] outputs with one number for each label"):
            label_output(LABELS, outputs)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [field.name for field in fields(Manifest) if field.name != "schema_version"]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_whatever_a_field_holds_there_is_a_manifest_or_an_artifact_error(changes: dict[str, Any]) -> None:
    template = json.loads(
        Manifest(
            name="n",
            version="v",
            labels=("a",),
            input=TensorSpec(),
            outputs=tuple(TensorSpec(name=name, shape=(-1, 1)) for name in ("logits", "probabilities")),
            recipe=Recipe(height=8, width=8),
            parity=Parity(),
            files={"model.onnx": FileEntry(size_bytes=1, sha256=DIGEST)},
            golden_tolerance=1e-3,
        ).to_json()
    )
    parse_manifest(json.dumps(template).encode())
    try:
        parse_manifest(json.dumps({**template, **changes}).encode())
    except ArtifactError as error:
        assert error.message  # noqa: PT017


BAD_PATHS = ["", "..", "/etc/passwd", "a/../../b", "./a", "a//b", "a\\b", "a\0b", "\u202ea", "x" * 256]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_paths_that_may_leave_the_artifact_are_refused(manifest: Manifest, path: str) -> None:
    entry = {"size_bytes": 1, "sha256": DIGEST}
    with pytest.raises(ArtifactError, match="may lead outside the artifact"):
        parse_manifest(changed(manifest, lambda it: it["files"].update({path: entry})))
