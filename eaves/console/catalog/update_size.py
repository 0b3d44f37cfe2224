"""Computes what an update from one artifact to another ships: the layers of the container image that differ."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact import Artifact
from eaves.artifact.store import MANIFEST
from eaves.console.model.words import describe_size
from eaves.oci.layers.artifact_layers import BACKBONE, split_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePart:
    """A layer of the new artifact.

    Attributes:
        title: What the layer holds.
        size_bytes: Size of its files, bytes; compression makes it a little smaller.
        is_shipped: Whether the layer differs from those of the old artifact.
    """

    title: str
    size_bytes: int
    is_shipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update ships.

    Attributes:
        parts: The layers of the new artifact.
    """

    parts: tuple[UpdatePart, ...]

    @property
    def shipped_bytes(self) -> int:
        """Size of the layers that differ, bytes, before compression."""
        return sum(part.size_bytes for part in self.parts if part.is_shipped)

    @property
    def total_bytes(self) -> int:
        """Size of all layers, bytes, before compression."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def text(self) -> str:
        """What is shipped, as a sentence without a full stop."""
        if not self.shipped_bytes:
            return "nothing is shipped: the two artifacts are the same"
        sizes = f"at most {describe_size(self.shipped_bytes)} of {describe_size(self.total_bytes)} before compression"
        backbones = [part for part in self.parts if part.title.endswith(BACKBONE)]
        if backbones and not any(part.is_shipped for part in backbones):
            return f"{sizes}: the backbone has the same digest and stays"
        return f"{sizes}: the backbone differs" if backbones else sizes


def list_parts(artifact: Artifact) -> list[tuple[str, int, frozenset[tuple[str, str]]]]:
    """Return title, size in bytes, and paths with digests of each layer of an artifact."""
    digests = {path: (entry.sha256, entry.size_bytes) for path, entry in artifact.manifest.files.items()}
    digests[MANIFEST] = (artifact.digest, (artifact.path / MANIFEST).stat().st_size)
    return [
        (
            part.title,
            sum(digests[path][1] for path in part.paths),
            frozenset((path, digests[path][0]) for path in part.paths),
        )
        for part in split_parts(set(digests))
    ]


def compute_update(old: Artifact, new: Artifact) -> Update:
    """Compute what an update from one artifact to another ships."""
    there = {files for _, _, files in list_parts(old)}
    return Update(
        parts=tuple(
            UpdatePart(title=title, size_bytes=size_bytes, is_shipped=files not in there)
            for title, size_bytes, files in list_parts(new)
        )
    )
