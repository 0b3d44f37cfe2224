"""The manifest: canonical bytes, and nothing taken on trust when they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.artifact import Manifest, parse_manifest
from eaves.artifact.manifest import MAX_LABELS, SCHEMA_VERSION, check_path
from eaves.errors import ArtifactError
from tests.fakes.artifact import build_manifest, fill


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return build_manifest(fill(tmp_path / "staging"))


def test_json_brings_back_what_was_written(manifest: Manifest) -> None:
    assert parse_manifest(manifest.to_json()) == manifest


def test_the_digest_depends_on_the_content_alone(manifest: Manifest, tmp_path: Path) -> None:
    again = build_manifest(fill(tmp_path / "elsewhere"))
    assert again.digest() == manifest.digest() == parse_manifest(manifest.to_json()).digest()
    assert build_manifest(tmp_path / "elsewhere", version="2").digest() != manifest.digest()
    assert build_manifest(tmp_path / "elsewhere", files={}).digest() != manifest.digest()


def changed(manifest: Manifest, change: Callable[[dict[str, Any]], object]) -> bytes:
    values = json.loads(manifest.to_json())
    change(values)
    return json.dumps(values).encode()


DIGEST = "0" * 64
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer schema": (lambda it: it.update(schema_version=SCHEMA_VERSION + 1), "schema_version 2, this Eaves reads 1"),
    "no schema": (lambda it: it.pop("schema_version"), "schema_version None"),
    "no name": (lambda it: it.pop("name"), "name"),
    "no files": (lambda it: it.pop("files"), "files"),
    "no recipe": (lambda it: it.pop("recipe"), "recipe"),
    "recipe that is none": (lambda it: it.update(recipe=3), "recipe"),
    "recipe with an unknown field": (lambda it: it["recipe"].update(rotate=90), "rotate"),
    "labels as text": (lambda it: it.update(labels="abc"), "labels"),
    "no labels": (lambda it: it.update(labels=[]), "labels"),
    "labels as numbers": (lambda it: it.update(labels=[1]), "labels"),
    "too many labels": (lambda it: it.update(labels=["x"] * (MAX_LABELS + 1)), "labels"),
    "outputs as text": (lambda it: it.update(outputs="ab"), "outputs"),
    "outputs as a number": (lambda it: it.update(outputs=3), "malformed"),
    "output with an unknown field": (lambda it: it["outputs"][0].update(scale=1), "scale"),
    "input with a bad shape": (lambda it: it["input"].update(shape=["a"]), "shape"),
    "parity that is none": (lambda it: it.update(parity=[]), "parity"),
    "files as a list": (lambda it: it.update(files=[]), "malformed"),
    "a file as a number": (lambda it: it["files"].update({"labels.txt": 3}), "labels.txt"),
    "a negative size": (lambda it: it["files"]["labels.txt"].update(size_bytes=-1), "size_bytes"),
    "a short digest": (lambda it: it["files"]["labels.txt"].update(sha256="abc"), "64 hex digits"),
    "an upper-case digest": (lambda it: it["files"]["labels.txt"].update(sha256="A" * 64), "64 hex digits"),
    "opset as text": (lambda it: it.update(opset="new"), "malformed"),
    "opset without end": (lambda it: it.update(opset=float("inf")), "malformed"),
    "toolchain as a list": (lambda it: it.update(toolchain=[]), "malformed"),
    "tolerance that allows all": (lambda it: it["parity"].update(tolerance=1e999), "tolerance"),
    "temperature of zero": (lambda it: it.update(temperature=0), "temperature must be > 0"),
    "temperature without end": (lambda it: it.update(temperature=float("inf")), "temperature must be > 0"),
    "temperature as text": (lambda it: it.update(temperature="hot"), "malformed"),
    "no temperature": (lambda it: it.pop("temperature"), "temperature"),
    "tolerance as text": (lambda it: it["parity"].update(tolerance="inf"), "tolerance"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_no_manifest_is_refused_and_named(manifest: Manifest, case: str) -> None:
    change, message = CHANGES[case]
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(changed(manifest, change))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"not (JSON|a JSON object)"):
        parse_manifest(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [
    "name",
    "version",
    "labels",
    "input",
    "outputs",
    "recipe",
    "parity",
    "files",
    "opset",
    "toolchain",
    "task",
    "temperature",
]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_whatever_a_field_holds_there_is_a_manifest_or_an_artifact_error(changes: dict[str, Any]) -> None:
    template = {
        "schema_version": 1,
        "name": "n",
        "version": "v",
        "labels": ["a"],
        "input": {},
        "outputs": [],
        "recipe": {"height": 8, "width": 8},
        "parity": {},
        "files": {"model.onnx": {"size_bytes": 1, "sha256": DIGEST}},
        "task": "classify",
        "temperature": 1.5,
        "opset": 17,
        "run_digest": "",
        "toolchain": {},
    }
    parse_manifest(json.dumps(template).encode())
    try:
        parse_manifest(json.dumps({**template, **changes}).encode())
    except ArtifactError as error:
        assert error.message  # noqa: PT017


@pytest.mark.parametrize("path", ["model.onnx", "weights/head.bin", "golden/000.png", "a b/ü.png", "...", "a/..b"])
def test_plain_relative_paths_are_taken(path: str) -> None:
    assert check_path(path) == path


BAD_PATHS = [
    *("", ".", "..", "/", "/etc/passwd", "../model.onnx", "a/../../b", "a/..", "./a", "a/./b", "a//b", "a/"),
    *("a\\b", "..\\a", "a\0b", "a\nb", "\u202ea", "x" * 256),
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_paths_that_may_leave_the_artifact_are_refused(manifest: Manifest, path: str) -> None:
    entry = {"size_bytes": 1, "sha256": DIGEST}
    with pytest.raises(ArtifactError, match="may leave the artifact"):
        parse_manifest(changed(manifest, lambda it: it["files"].update({path: entry})))
