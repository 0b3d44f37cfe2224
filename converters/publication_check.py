"""Checks whether a model may be published, as a pipeline does, and tags what is published.

A model is compared with these:

- The last one. If the tag contains the model's version, it is the newest other version; versions sort by the time of
  the training. If the tag is the same for every model, it is the container image that the tag names at present.
- The best one so far, which the tag `best` names. A model becomes the best one when it is shown to be better than the
  best one before. So a chain of models that each lose less than is allowed ends: it is compared with its beginning.
- The one that serves again after `eaves rollback`, which the tag `serving` names. The model that was taken back is
  still the last one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from converters.gate import check_model, find_unchecked
from converters.settings import PipelineSettings
from eaves.artifact import Artifact, open_artifact
from eaves.errors import (
    OciError,
    OciNotFoundError,
)
from eaves.oci.copy import BEST, SERVING, VERSION, ImageLocation, name_role, open_location
from eaves.oci.descriptor import Descriptor
from eaves.oci.layout import create_layout
from eaves.oci.package import find_artifact, unpack_artifact
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from trainer.progress import TrainingProgress
from trainer.run.run_location import RunLocation
from trainer.settings import DataSettings

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
    def artifact(self, work: Path) -> Iterator[Artifact]:
        """Fetch the artifact to a folder below `work`, which is removed at the end of the context.

        Raises:
            OciError: The artifact can't be fetched, or differs from what the container image says.
        """
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="published-", dir=work) as made:
            layout = create_layout(Path(made) / "layout")
            yield unpack_artifact(self.place.store, self.descriptor, layout, Path(made) / "artifact")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModels:
    """The models that are published at a location.

    Attributes:
        own: Model with the new model's own tag, if the tag contains the version; None otherwise.
        last: Model that was published last, except `own`; None when there is none.
        best: Best model so far; None when no tag names it.
        serving: Model that serves again after a rollback; None when no tag names it.
        lines: A line for each model that is left out because it can't be found.
    """

    own: Published | None = None
    last: Published | None = None
    best: Published | None = None
    serving: Published | None = None
    lines: tuple[str, ...] = ()


def find_published(tag: str, version: str, access: Access) -> PublishedModels:
    """Find the models that are published at a location.

    Args:
        tag: Name of a container image in a registry; its tag may contain `VERSION`.
        version: Version of the model that is to be published.
        access: Access to the registry.

    Raises:
        OciError: The registry can't be read.
    """
    own, last, lines = None, None, list[str]()
    if VERSION not in tag:
        last = find_model(tag, access)
    else:
        own = find_model(tag.replace(VERSION, version), access)
        place, known = open_location(tag.replace(VERSION, version), access), set[str]()
        if isinstance(place.store, Registry):
            pattern = re.compile(re.escape(tag.rpartition(":")[2]).replace(re.escape(VERSION), f"({_VERSION})"))
            known = {found[1] for one in place.store.tags() if (found := pattern.fullmatch(one))}
        for one in sorted(known - {version}, reverse=True):
            last = find_model(tag.replace(VERSION, one), access)
            if last is not None:
                break
            lines.append(f"{tag.replace(VERSION, one)} has no model (any more) and is left out")
    best, serving = (find_model(name_role(tag, role), access) for role in (BEST, SERVING))
    if last is not None and best is None:
        lines.append(f"{name_role(tag, BEST)} has no model (any more): the best model so far is not known")
    return PublishedModels(own=own, last=last, best=best, serving=serving, lines=tuple(lines))


def tag_roles(models: PublishedModels, tag: str, version: str, best: Published | None, access: Access) -> list[str]:
    """Tag the best model so far, after a model was published, and stop comparing with the one before it that served.

    Args:
        models: The models that were published before.
        tag: Name that the model was published to; it may contain `VERSION`.
        version: Version of the published model.
        best: Best model so far; None means the published one.
        access: Access to the registry.

    Returns:
        A line for each role that the registry doesn't let change.
    """
    lines = list[str]()
    for role, found in ((BEST, best), (SERVING, None)):
        if role == SERVING and models.serving is None:
            continue
        if role == BEST and best is not None and best is models.best:
            continue  # another pipeline may have tagged a better one since
        try:
            place = open_location(name_role(tag, role), access)
            new = open_location(tag.replace(VERSION, version), access)
            place.tag(new.resolve() if found is None else found.descriptor)
        except OciError as error:
            lines.append(f"{name_role(tag, role)} was not changed, so the next model is compared as before: {error}")
    return lines


def find_model(name: str, access: Access) -> Published | None:
    """Return the model in the container image of this name; None when there is no such image or no artifact in it."""
    place = open_location(name, access)
    try:
        descriptor = place.resolve()
        artifact = find_artifact(place.store, descriptor)
    except OciNotFoundError:
        return None
    digest = artifact.removeprefix("sha256:")
    return Published(name=name, artifact_digest=digest, place=place, descriptor=descriptor) if digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Result of the check of a model that may be published.

    Attributes:
        lines: Lines with the figures by which the model passed.
        published: The models that are published already.
        best: Best model so far among those; None when it is the new one.
        again: Whether the model itself is published already, so that no role changes.
    """

    lines: tuple[str, ...]
    published: PublishedModels = field(default_factory=PublishedModels)
    best: Published | None = None
    again: bool = False


def check_publication(
    path: Path, place: RunLocation, data: DataSettings, tag: str, settings: PipelineSettings, *, access: Access,
    progress: TrainingProgress,
) -> Passed:  # fmt: skip
    """Check whether a model may be published, by its artifact.

    Args:
        path: Directory of the artifact.
        place: Location of the model's run.
        data: Settings that name the run's images.
        tag: Container image name to publish to, as `eaves package` takes it.
        settings: Settings with the requirements.
        access: Access to the registry.
        progress: Receives one step for each image.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice.
        EavesError: The images, the run or the registry can't be read.
    """
    artifact = open_artifact(path)
    if line := find_unchecked(artifact):
        return Passed(lines=(line,), again=True)
    models = find_published(tag, artifact.manifest.version, access)
    for found in (models.own, models.last):
        if found is not None and found.artifact_digest == artifact.digest:
            line = f"{found.name} is this model; it was checked before it was published"
            return Passed(lines=(line,), again=True)
    # Each once, the last model first.
    given = {found.artifact_digest: found for found in (models.serving, models.best, models.last) if found is not None}
    answer = check_model(artifact, place, data, list(given.values())[::-1], settings, progress=progress)
    lines = (*models.lines, *answer.lines)
    if not answer.is_compared:
        return Passed(lines=lines, published=models)
    candidates = (found for found in (models.best, models.last) if found and found.artifact_digest not in answer.gone)
    best = next(candidates, None)
    if best is None or best.artifact_digest in answer.exceeded:
        best, lines = None, (*lines, "the model is the best one so far, with which the next ones are compared")
    return Passed(lines=lines, published=models, best=best)
