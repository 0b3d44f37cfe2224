"""An artifact > layers that follow what changes: a new head on a frozen backbone replaces the last one only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from eaves.artifact import Artifact
from eaves.artifact.golden import INDEX as GOLDEN_INDEX
from eaves.artifact.permitted_files import HANDLER, MANIFEST
from eaves.errors import OciError
from eaves.oci.layers.layer import LayerFile

ROOT = "artifact"
"""Where the artifact lies in a container, relative to the root."""
BACKBONE = "backbone.bin"
GRAPH = "model.onnx"
_GRAPHS, _GOLDEN, _REST = "graphs", "golden inputs", "head, labels, manifest"
TITLES = (_GRAPHS, _GOLDEN, _REST, HANDLER)
"""Titles of an artifact's layers; a backbone's is its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPart:
    """One layer's worth of an artifact.

    Attributes:
        title: For people.
        paths: Of its files, in the artifact.
    """

    title: str
    paths: tuple[str, ...]


def split_parts(paths: set[str]) -> Iterator[ArtifactPart]:
    """The layers of an artifact's files, from what changes least up.

    Each backbone is a layer of its own, since each is most of the bytes: a variant for another CPU that comes or goes
    moves no other. Then the graphs, the golden inputs, and last all that a new head changes. Only a handler is apart.
    """
    backbones = sorted(path for path in paths if PurePosixPath(path).name == BACKBONE)
    graphs = {path for path in paths if PurePosixPath(path).name == GRAPH}
    golden = {path for path in paths if path.startswith("golden/")} - {GOLDEN_INDEX}
    handler = paths & {HANDLER}
    rest = paths - {*backbones} - graphs - golden - handler
    for path in backbones:
        yield ArtifactPart(title=path, paths=(path,))
    for title, some in ((_GRAPHS, graphs), (_GOLDEN, golden), (_REST, rest)):
        if some:
            yield ArtifactPart(title=title, paths=tuple(sorted(some)))
    if handler:
        yield ArtifactPart(title=HANDLER, paths=(HANDLER,))


def artifact_parts(artifact: Artifact, *, allow_handler: bool = False) -> list[ArtifactPart]:
    """The parts of an artifact.

    Raises:
        OciError: When it has a handler and that isn't allowed.
    """
    paths = {*artifact.manifest.files, MANIFEST}
    if HANDLER in paths and not allow_handler:
        raise OciError(
            f"{artifact.path} has a {HANDLER}, code that will run wherever the container image does",
            hint="read it, then package with --allow-handler",
        )
    return list(split_parts(paths))


def part_files(artifact: Artifact, part: ArtifactPart) -> Iterator[LayerFile]:
    """The files of a part, at their place in a container, each with the digest that the opened artifact gave it."""
    for path in part.paths:
        digest = artifact.digest if path == MANIFEST else artifact.manifest.files[path].sha256
        yield LayerFile(path=f"{ROOT}/{path}", content=artifact.path / path, sha256=digest)
