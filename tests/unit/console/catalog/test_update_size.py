"""What an update ships between two artifacts."""

from __future__ import annotations

from pathlib import Path

from eaves.console.catalog.update_size import compute_update
from eaves.oci.layers.artifact_layers import artifact_parts
from tests.fakes.models.artifact import write_colours


def test_a_new_head_leaves_the_backbone(tmp_path: Path) -> None:
    old = write_colours(tmp_path / "old")
    new = write_colours(tmp_path / "new", change=lambda staging: (staging / "weights/head.bin").write_bytes(bytes(7)))
    update = compute_update(old, new)
    shipped = {part.title for part in update.parts if part.is_shipped}
    assert shipped == {"head, labels, manifest"}
    assert update.shipped_bytes < 5000 <= update.total_bytes
    assert update.text.endswith("the backbone has the same digest and stays")
    assert update.total_bytes == new.size_bytes + (new.path / "manifest.json").stat().st_size
    assert [part.title for part in update.parts] == [part.title for part in artifact_parts(new)]


def test_another_backbone_is_shipped(tmp_path: Path) -> None:
    old = write_colours(tmp_path / "old")
    new = write_colours(tmp_path / "new", change=lambda staging: (staging / "weights/backbone.bin").write_bytes(b"new"))
    update = compute_update(old, new)
    assert {"weights/backbone.bin", "head, labels, manifest"} == {p.title for p in update.parts if p.is_shipped}
    assert update.text.endswith("the backbone differs")


def test_the_same_artifact_ships_nothing(tmp_path: Path) -> None:
    artifact = write_colours(tmp_path / "one")
    update = compute_update(artifact, artifact)
    assert update.shipped_bytes == 0
    assert update.text == "nothing is shipped: the two artifacts are the same"
