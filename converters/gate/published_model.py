"""Finds the model that was published last at a location, which a pipeline's next model replaces.

If the tag contains the model's version, the newest other version counts; versions sort by the time of the training. If
the tag is the same for every model, the container image that the tag names at present counts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact import Artifact, open_artifact
from eaves.errors import ArtifactError, OciNotFoundError
from eaves.oci.artifact_extraction import find_artifact, unpack_artifact
from eaves.oci.descriptor import Descriptor
from eaves.oci.image_location import ImageLocation, open_location
from eaves.oci.registry.registry import Access, Registry
from eaves.oci.store.layout import create_layout

VERSION = "{version}"
"""Placeholder for the model's version in a tag."""
_VERSION = r"\d{8}-\d{6}-[0-9a-f]{8}"
"""Regular expression of a model's version, as `trainer.run.run` makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A container image in a registry and the artifact in it.

    Attributes:
        name: Name of the container image, with its tag.
        artifact_digest: sha256 of the artifact, hex.
        place: Location of the container image.
        descriptor: Descriptor of the container image.
    """

    name: str
    artifact_digest: str
    place: ImageLocation
    descriptor: Descriptor

    @contextmanager
    def artifact(self, kept: Path, work: Path) -> Iterator[Artifact]:
        """Yield the artifact on this machine.

        Args:
            kept: Folder with earlier artifacts, each named by its version; an artifact in it is not fetched.
            work: Folder to fetch the artifact to.

        Raises:
            OciError: The artifact can't be fetched, or differs from what the container image says.
        """
        for folder in sorted(kept.glob("*")) if kept.is_dir() else ():
            try:
                found = open_artifact(folder)
            except ArtifactError:
                continue
            if found.digest == self.artifact_digest:
                yield found
                return
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="published-", dir=work) as made:
            layout = create_layout(Path(made) / "layout")
            yield unpack_artifact(self.place.store, self.descriptor, layout, Path(made) / "artifact")


def find_published(tag: str, version: str, access: Access) -> tuple[Published | None, Published | None]:
    """Find the models that are published at a location.

    Args:
        tag: Name of a container image in a registry; its tag may contain `VERSION`.
        version: Version of the model that is to be published.
        access: Access to the registry.

    Returns:
        own: Model with the new model's own tag, if the tag contains the version; None otherwise.
        last: Model that was published last, except `own`; None when there is none.

    Raises:
        OciError: The registry can't be read.
    """
    if VERSION not in tag:
        return None, _look(tag, access)
    own = _look(tag.replace(VERSION, version), access)
    place = open_location(tag.replace(VERSION, version), access)
    if not isinstance(place.store, Registry):
        return own, None
    name = tag.rpartition(":")[2]
    pattern = re.compile(re.escape(name).replace(re.escape(VERSION), f"({_VERSION})"))
    known = {found[1] for one in place.store.tags() if (found := pattern.fullmatch(one))}
    newest = max(known - {version}, default="")
    return own, _look(tag.replace(VERSION, newest), access) if newest else None


def _look(name: str, access: Access) -> Published | None:
    """Return the model in the container image of this name; None when there is no such image or no artifact in it."""
    place = open_location(name, access)
    try:
        descriptor = place.resolve()
        artifact = find_artifact(place.store, descriptor)
    except OciNotFoundError:
        return None
    digest = artifact.removeprefix("sha256:")
    return Published(name=name, artifact_digest=digest, place=place, descriptor=descriptor) if digest else None
