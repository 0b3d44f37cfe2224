"""Division of an artifact into layers, so that a new head on a frozen backbone replaces only the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.artifact import Artifact
from eaves.artifact.golden import INDEX as GOLDEN_INDEX
from eaves.artifact.store import HANDLER, MANIFEST, MODEL
from eaves.errors import OciError
from eaves.oci.layers.layer import LayerFile

ROOT = "artifact"
"""Directory of the artifact in a container, relative to the root directory."""
BACKBONE = "weights/backbone.bin"
_GRAPHS, _GOLDEN, _REST = "graphs", "golden inputs", "head, labels, manifest"
TITLES = (BACKBONE, _GRAPHS, _GOLDEN, _REST, HANDLER)
"""Titles of the layers of an artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPart:
    """Those files of an artifact that make up one layer.

    Attributes:
        title: Title of the layer, for display.
        paths: Paths of the files in the artifact.
    """

    title: str
    paths: tuple[str, ...]


def split_parts(paths: set[str]) -> Iterator[ArtifactPart]:
    """Divide an artifact's files into parts, one for each layer; yield first the parts that change least.

    The backbone has a layer of its own, because it makes up most of the bytes. The graph follows, then the golden
    inputs, then everything that a new head changes. A handler comes last.
    """
    golden = {path for path in paths if path.startswith("golden/")} - {GOLDEN_INDEX}
    rest = paths - golden - {BACKBONE, MODEL, HANDLER}
    for title, some in zip(TITLES, ({BACKBONE}, {MODEL}, golden, rest, {HANDLER}), strict=True):
        if kept := sorted(some & paths):
            yield ArtifactPart(title=title, paths=tuple(kept))


def artifact_parts(artifact: Artifact, *, allow_handler: bool = False) -> list[ArtifactPart]:
    """Return the parts of an artifact, one for each layer.

    Raises:
        OciError: When the artifact has a handler and `allow_handler` is False.
    """
    paths = {*artifact.manifest.files, MANIFEST}
    if HANDLER in paths and not allow_handler:
        raise OciError(
            f"{artifact.path} contains {HANDLER}, code that runs wherever the container image runs",
            hint=f"read {HANDLER}, then package with --allow-handler",
        )
    return list(split_parts(paths))


def part_files(artifact: Artifact, part: ArtifactPart) -> Iterator[LayerFile]:
    """Yield the files of a part, with their paths in a container and the SHA-256 from the artifact's manifest."""
    for path in part.paths:
        digest = artifact.digest if path == MANIFEST else artifact.manifest.files[path].sha256
        yield LayerFile(path=f"{ROOT}/{path}", content=artifact.path / path, sha256=digest)
