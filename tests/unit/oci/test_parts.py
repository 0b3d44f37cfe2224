"""Which files of an artifact share a layer, and what an update therefore moves."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", ["golden/000.png", "manifest.json"])
def test_a_file_that_changed_since_the_artifact_was_opened_is_not_packed(tmp_path: Path, name: str) -> None:
    artifact = write_colours(tmp_path / "artifact")
    file = artifact.path / name
    file.chmod(0o644)
    file.write_bytes(b"\1" * file.stat().st_size)  # of the same size: only the digest tells
    with pytest.raises(OciError, match=rf"{name} was changed while the container image was packaged"):
        layers(artifact, tmp_path / "layout")
