"""Which files of an artifact share a layer, and what an update therefore moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.errors import OciError
from eaves.oci.layers.layer import Layer, write_layer
from eaves.oci.layout import create_layout
from eaves.oci.package import part_files, split_parts
from tests.fakes.models.artifact import write_colours


def layers(artifact: Artifact, folder: Path) -> dict[str, Layer]:
    layout, parts = create_layout(folder), split_parts(artifact)
    return {title: write_layer(layout, part_files(artifact, paths), title) for title, paths in parts.items()}


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "another head": (lambda folder: (folder / "weights/head.bin").write_bytes(b"new"), {"head, labels, manifest"}),
    "other labels": (lambda folder: (folder / "labels.txt").write_text("a\nb\nc\n"), {"head, labels, manifest"}),
    "another graph": (
        lambda folder: (folder / "model.onnx").write_bytes(b"other"), {"graphs", "head, labels, manifest"}
    ),
    "another golden image": (
        lambda folder: (folder / "golden/000.png").write_bytes(b"other"), {"golden inputs", "head, labels, manifest"}
    ),
    "fine-tuning": (
        lambda folder: (folder / "weights/backbone.bin").write_bytes(b"other"),
        {"weights/backbone.bin", "head, labels, manifest"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_moves_its_own_layers_only(case: str, tmp_path: Path) -> None:
    change, moved = CHANGES[case]
    old = write_colours(tmp_path / "old", change=lambda folder: (folder / "weights/head.bin").write_bytes(b"old"))

    def both(folder: Path) -> None:
        (folder / "weights/head.bin").write_bytes(b"old")
        change(folder)

    new = write_colours(tmp_path / "new", change=both)
    before, after = layers(old, tmp_path / "a"), layers(new, tmp_path / "b")
    assert list(after) == ["weights/backbone.bin", "graphs", "golden inputs", "head, labels, manifest"]
    assert {title for title in after if after[title] != before.get(title)} == moved


@pytest.mark.parametrize("name", ["golden/000.png", "manifest.json"])
def test_a_file_that_changed_since_the_artifact_was_opened_is_not_packed(tmp_path: Path, name: str) -> None:
    artifact = write_colours(tmp_path / "artifact")
    file = artifact.path / name
    file.chmod(0o644)
    file.write_bytes(b"\1" * file.stat().st_size)  # of the same size: only the digest tells
    with pytest.raises(OciError, match=rf"{name} was changed while the container image was packaged"):
        layers(artifact, tmp_path / "layout")
