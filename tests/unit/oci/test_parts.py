"""The names of container images, and what their parts are made of."""

import os
from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference
from eaves.oci.layers.layer import Layer, write_layer
from eaves.oci.layout import create_layout
from eaves.oci.package import part_files, split_parts
from tests.fakes.models.artifact import write_colours


def layers(artifact: Artifact, folder: Path) -> dict[str, Layer]:
    layout, parts = create_layout(folder), split_parts(artifact)
    return {title: write_layer(layout, part_files(artifact, paths), title) for title, paths in parts.items()}


@pytest.mark.parametrize("name", ["golden/000.png", "manifest.json"])
def test_a_file_that_changed_since_the_artifact_was_opened_is_not_packed(tmp_path: Path, name: str):
    artifact = write_colours(tmp_path / "artifact")
    file = artifact.path / name
    file.chmod(0o644)
    file.write_bytes(b"\1" * file.stat().st_size)  # of the same size: only the digest tells
    with pytest.raises(OciError, match=rf"{name} was changed while the container image was packaged"):
        layers(artifact, tmp_path / "layout")


def test_what_a_new_head_changes_has_one_layer_and_golden_images_another(tmp_path: Path):
    parts = split_parts(write_colours(tmp_path / "artifact"))
    assert parts["golden inputs"]
    assert {"golden/golden.json", "labels.txt", "manifest.json"} <= {*parts["head, labels, manifest"]}


def test_an_artifact_that_is_written_again_has_the_same_layers(tmp_path: Path):
    artifact = write_colours(tmp_path / "artifact")
    before = layers(artifact, tmp_path / "before")
    for path in artifact.path.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert layers(artifact, tmp_path / "after") == before


DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "full", "api_host", "name"),
    [
        ("python:3.13-slim", "docker.io/library/python:3.13-slim", "registry-1.docker.io", "3.13-slim"),
        ("index.docker.io/library/python", "docker.io/library/python", "registry-1.docker.io", "latest"),
        ("127.0.0.1:5000/site/x:a", "127.0.0.1:5000/site/x:a", "127.0.0.1:5000", "a"),
        ("[::1]:5000/x:a", "[::1]:5000/x:a", "[::1]:5000", "a"),
        (f"reg.example/x:a@{DIGEST}", f"reg.example/x:a@{DIGEST}", "reg.example", DIGEST),
        ("reg.example/a__b/c-d/e.f", "reg.example/a__b/c-d/e.f", "reg.example", "latest"),
    ],
)
def test_names(text: str, full: str, api_host: str, name: str):
    reference = parse_reference(text)
    assert (str(reference), reference.api_host, reference.name) == (full, api_host, name)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "repository"),
        ("reg.example/X", "lower-case"),
        ("reg.example/x\n", "repository"),
        ("reg.example/x:" + "a" * 129, "tag"),
        ("reg.example/x@sha256:abc", "digest"),
        ("https://reg.example/x", "host"),
    ],
)
def test_what_is_no_name(text: str, words: str):
    with pytest.raises(OciError, match=words):
        parse_reference(text)
