"""Extraction of the artifact from a function's container image at a registry into a local folder."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from eaves.artifact import Artifact, open_artifact
from eaves.base.disk_errors import disk_errors
from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor
from eaves.oci.layers.artifact_layers import BACKBONE, ROOT, TITLES
from eaves.oci.layers.image import Image, load_images
from eaves.oci.package import ARTIFACT_LABEL
from eaves.oci.store.content_store import ContentSource
from eaves.oci.store.layout import Layout

MAX_FILES, MAX_BYTES = 10_000, 16 * 2**30
"""Maximum number of files, and of bytes, that are unpacked from one layer; every artifact has fewer."""


def find_artifact(source: ContentSource, descriptor: Descriptor) -> str:
    """Return the digest in a container image's label of its artifact, `sha256:...`; empty without the label."""
    image = next(load_images(source, descriptor), None)
    return image.labels.get(ARTIFACT_LABEL, "") if image else ""


def unpack_artifact(source: ContentSource, descriptor: Descriptor, layout: Layout, folder: Path) -> Artifact:
    """Fetch the layers of an artifact and unpack them into a folder.

    Args:
        source: Source of the container image.
        descriptor: Descriptor of the container image, or of an index whose platforms all have the same artifact.
        layout: Layout that stores the layers, so that after an interruption only missing content is fetched.
        folder: Directory of the artifact, which must not exist.

    Returns:
        The opened artifact.

    Raises:
        OciError: When the container image is not a function's, or when its artifact isn't the one that its label names.
        ArtifactError: When the artifact is damaged.
    """
    image = next(load_images(source, descriptor), None)
    wanted = image.labels.get(ARTIFACT_LABEL, "") if image else ""
    if image is None or not wanted:
        raise OciError(
            f"{descriptor.digest} is not the container image of a function", hint="make one with `eaves package`"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder.parent), tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as made:
        for layer in _layers(image):
            layout.write(layer, source)
            _unpack(layout, layer, Path(made))
        found = open_artifact(Path(made) / ROOT, level="full")
        if f"sha256:{found.digest}" != wanted:
            raise OciError(
                f"the artifact in {descriptor.digest} is not the one that its labels name",
                hint=("the container image was altered; package and push it again"),
            )
        shutil.move(Path(made) / ROOT, folder)
    return open_artifact(folder)


def _layers(image: Image) -> Iterator[Descriptor]:
    """Yield the layers that `eaves package` made from an artifact, according to the history in the config."""
    history = [entry for entry in image.values.get("history") or [] if not entry.get("empty_layer")]
    for layer, entry in zip(image.layers, history, strict=False):
        title = str(entry.get("created_by", "")).rpartition("eaves package: ")[2]
        if title in TITLES or PurePosixPath(title).name == BACKBONE:
            yield layer


def _unpack(layout: Layout, layer: Descriptor, folder: Path) -> None:
    """Unpack the artifact's files from one layer, those below the directory `ROOT`, and no other files.

    Raises:
        OciError: When the layer is no tar, or has a file whose path leads out of the folder.
    """
    try:
        with tarfile.open(layout.blob_path(layer.digest), mode="r:*") as tar:
            size = 0
            for number, member in enumerate(tar, 1):
                size += member.size
                if number > MAX_FILES or size > MAX_BYTES:
                    raise OciError(
                        f"{layer.digest} contains more than {MAX_FILES} files or {MAX_BYTES} bytes",
                        hint=("the container image was altered; package and push it again"),
                    )
                if member.isfile() and PurePosixPath(member.name).parts[:1] == (ROOT,):
                    tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise OciError(
            f"{layer.digest} can't be unpacked: {error}",
            hint=("the container image was altered or damaged; package and push it again"),
        ) from error
